/* Checks: what a test says when something is wrong, and the figures it measured. */
#ifndef CHECK_H
#define CHECK_H

/* 1 if the condition holds; else the test is failed and says the rest, a printf format
 * with its arguments. Call it on the main thread. */
#define CHECK(condition, ...) \
  ((condition) ? 1 : (check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__), 0))

void check_failed(const char *file, int line, const char *condition, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));

/* Keeps the largest value of a measured quantity; printed with --figures. */
void figure(const char *name, double value);

#endif
