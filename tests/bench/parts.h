/* parts: measurements that have a file of their own; each prints its rows. */
#ifndef ROOST_BENCH_PARTS_H
#define ROOST_BENCH_PARTS_H

/* Needs ROOST_RUN; makes sessions of its own in the database and removes them. */
void appends(void);
/* url: the provider's, plain HTTP; model: one that is routed to it. */
void first(const char *url, const char *model);

#endif
