// A library with every kind of thread-local access; N tells several copies apart.
__thread int counter = N;
static __thread int local = 100;
static __thread char block[64];
int next(void) { return counter++ + local++ + ++block[3]; }
#ifdef INITIAL_EXEC
static __thread int near __attribute__((tls_model("initial-exec"))) = 55;
int next_near(void) { return near++; }
#endif
