// What libc opens by itself: NSS, character sets, the unwinder of threads that end early.
#define _GNU_SOURCE
#include <stdio.h>
#include <iconv.h>
#include <pwd.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include <execinfo.h>
static void clean(void *a) { puts("cleanup"); }
static void *run(void *a) { pthread_cleanup_push(clean, 0); if (a) pthread_exit((void *)7); for (;;) { pthread_testcancel(); usleep(1000); } pthread_cleanup_pop(0); return 0; }
int main(int c, char **v) {
  struct passwd *p = getpwuid(0); printf("%s\n", p ? p->pw_name : "nobody"); fflush(stdout);
  iconv_t cd = iconv_open("UTF-16LE", "ISO-8859-15"); char in[] = "h\xa4", out[16] = ""; char *i = in, *o = out; size_t a = 2, b = 16;
  if (cd == (iconv_t)-1) puts("no iconv"); else { iconv(cd, &i, &a, &o, &b); printf("%d %x %x\n", (int)(16 - b), out[0], out[2] & 255); }
  fflush(stdout);
  void *bt[10]; printf("%d\n", backtrace(bt, 10) > 1); fflush(stdout);
  pthread_t t; void *r; pthread_create(&t, 0, run, (void *)1); pthread_join(t, &r); printf("%ld\n", (long)r); fflush(stdout);
  pthread_create(&t, 0, run, 0); pthread_cancel(t); pthread_join(t, &r); printf("%d\n", r == PTHREAD_CANCELED);
}
