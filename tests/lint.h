/*
 * lint.h: included before every file that clang-tidy reads. Tells its analyzer what it cannot see across files: these functions always
 * return -1, so the paths after `if (f() < 0)` are not mixed with those on which f() has set its results.
 */
#ifndef ROOST_TESTS_LINT_H
#define ROOST_TESTS_LINT_H

#include "err.h"

#define err_set(...) ((void)(err_set)(__VA_ARGS__), -1)
#define err_fault(...) ((void)(err_fault)(__VA_ARGS__), -1)
#define err_code(...) ((void)(err_code)(__VA_ARGS__), -1)
#define err_wrap(...) ((void)(err_wrap)(__VA_ARGS__), -1)

#endif
