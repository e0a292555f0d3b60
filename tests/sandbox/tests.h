/* The groups of tests; each starts from sandboxes of its own. */
#ifndef ROOST_TESTS_SANDBOX_TESTS_H
#define ROOST_TESTS_SANDBOX_TESTS_H

void test_inside(void);		/* what a tool sees and may do */
void test_shell(void);		/* bash */
void test_files(void);		/* read, write, edit, glob, grep */
void test_limits(void);		/* bombs and floods */
void test_protocol(void);	/* fencing, attaching, cancelling, bad frames */
void test_life(void);		/* crashes, sweeps, two instances */
void test_mounts(void);		/* files of the session */
void test_outputs(void);	/* what is collected, and what is not */

void bench(void);		/* only when asked for: timings, no assertions */

#endif
