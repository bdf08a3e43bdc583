#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__thread int mine = 5;
pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER; pthread_cond_t c = PTHREAD_COND_INITIALIZER;
int total, ready;
static void *work(void *arg) {
  long n = (long)arg; mine += n;
  for (int i = 0; i < 20000; i++) { pthread_mutex_lock(&m); total++; pthread_mutex_unlock(&m); }
  pthread_mutex_lock(&m); ready++; pthread_cond_signal(&c); pthread_mutex_unlock(&m);
  return (void *)(long)mine;
}
int main(void) {
  pthread_t t[4]; void *r; long sum = 0;
  for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, work, (void *)i);
  pthread_mutex_lock(&m); while (ready < 4) pthread_cond_wait(&c, &m); pthread_mutex_unlock(&m);
  for (int i = 0; i < 4; i++) { pthread_join(t[i], &r); sum += (long)r; }
  printf("total %d sum %ld mine %d\n", total, sum, mine);
}
