/* System V shared memory, semaphores, message queues. All that is printed is the same on every run. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

union semun { int val; struct semid_ds *buf; unsigned short *array; };
struct message { long type; char text[64]; };
static int failed_with(int result, int wanted) { return result == -1 && errno == wanted; }
static void alarmed(int number) { (void)number; }

int main(void) {
  struct shmid_ds shm;
  struct semid_ds sem;
  struct msqid_ds queue;
  struct message m;
  struct sembuf ops[2];
  struct timespec moment = {0, 30000000};
  unsigned short all[3] = {4, 5, 6};
  int status, n;
  setvbuf(stdout, 0, _IOLBF, 0);
  key_t key = 0x5eed0000 | (getpid() & 0xffff);
  /* shared memory */
  int id = shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0600);
  printf("made %d, again %d, found %d\n", id >= 0, failed_with(shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0600), EEXIST), shmget(key, 0, 0) == id);
  n = shmget(key + 1, 1, 0);
  printf("none %d\n", failed_with(n, ENOENT));
  n = shmget(key, 20000, 0);
  printf("too large %d\n", failed_with(n, EINVAL));
  char *a = shmat(id, 0, 0), *b = shmat(id, 0, SHM_RDONLY);
  strcpy(a + 9000, "here");
  printf("twice %d %s\n", a != b, b + 9000);
  if (!fork()) { strcpy(a, "from the child"); char *c = shmat(shmget(key, 0, 0), 0, 0); _exit(!strcmp(c + 9000, "here")); }
  wait(&status);
  printf("%s, child %d\n", a, WEXITSTATUS(status));
  memset(&shm, 0, sizeof shm);
  shmctl(id, IPC_STAT, &shm);
  printf("size %ld attached %ld mode %o by %d times %d %d key %d\n", (long)shm.shm_segsz, (long)shm.shm_nattch, shm.shm_perm.mode & 0777,
         shm.shm_cpid == getpid(), shm.shm_atime > 0, shm.shm_ctime > 0, shm.shm_perm.__key == key);
  shm.shm_perm.mode = 0640;
  shmctl(id, IPC_SET, &shm); shmctl(id, IPC_STAT, &shm);
  printf("mode %o\n", shm.shm_perm.mode & 0777);
  n = shmdt(b);
  printf("detach %d %d\n", n, failed_with(shmdt(b), EINVAL));
  shmctl(id, IPC_RMID, 0);
  printf("still %s, found no more %d\n", a, failed_with(shmget(key, 0, 0), ENOENT));
  shmctl(id, IPC_STAT, &shm);
  printf("marked %o\n", shm.shm_perm.mode & 01000);
  shmdt(a);
  printf("gone %d\n", failed_with(shmctl(id, IPC_STAT, &shm), EINVAL));
  /* semaphores */
  id = semget(IPC_PRIVATE, 3, 0600);
  semctl(id, 0, SETALL, (union semun){.array = all});
  semctl(id, 1, SETVAL, (union semun){.val = 1});
  memset(all, 0, sizeof all);
  semctl(id, 0, GETALL, (union semun){.array = all});
  printf("values %d %d %d, %d\n", all[0], all[1], all[2], semctl(id, 2, GETVAL));
  ops[0] = (struct sembuf){0, -4, 0}; ops[1] = (struct sembuf){1, -2, IPC_NOWAIT};
  n = semop(id, ops, 2);
  printf("all or nothing %d %d\n", failed_with(n, EAGAIN), semctl(id, 0, GETVAL));
  ops[0] = (struct sembuf){1, -2, 0};
  n = semtimedop(id, ops, 1, &moment);
  printf("timed out %d\n", failed_with(n, EAGAIN));
  pid_t child = fork();
  if (!child) { ops[0] = (struct sembuf){1, -2, 0}; ops[1] = (struct sembuf){2, 1, SEM_UNDO}; _exit(semop(id, ops, 2) == 0 && semctl(id, 2, GETVAL) == 7 ? 9 : 1); }
  while (semctl(id, 1, GETNCNT) != 1) usleep(1000);
  ops[0] = (struct sembuf){1, 1, 0};
  semop(id, ops, 1);
  waitpid(child, &status, 0);
  printf("child %d, left %d, undone %d, last %d\n", WEXITSTATUS(status), semctl(id, 1, GETVAL), semctl(id, 2, GETVAL), semctl(id, 1, GETPID) == child);
  semctl(id, 0, IPC_STAT, (union semun){.buf = &sem});
  printf("number %ld, times %d %d\n", (long)sem.sem_nsems, sem.sem_otime > 0, sem.sem_ctime > 0);
  signal(SIGALRM, alarmed);
  struct sigaction action = {.sa_handler = alarmed};
  sigaction(SIGALRM, &action, 0);
  /* again and again: the first may come too early */
  struct itimerval often = {{0, 200000}, {0, 200000}}, never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &often, 0);
  ops[0] = (struct sembuf){0, 0, 0};
  n = semop(id, ops, 1);
  printf("interrupted %d\n", failed_with(n, EINTR));
  setitimer(ITIMER_REAL, &never, 0);
  if (!(child = fork())) { usleep(50000); semctl(id, 0, IPC_RMID); _exit(0); }
  n = semop(id, ops, 1);
  printf("removed %d\n", failed_with(n, EIDRM));
  waitpid(child, &status, 0);
  printf("gone %d\n", failed_with(semctl(id, 0, GETVAL), EINVAL));
  /* messages */
  id = msgget(key, IPC_CREAT | 0600);
  for (int i = 1; i <= 3; i++) { m.type = i; sprintf(m.text, "message %d", i); msgsnd(id, &m, strlen(m.text) + 1, 0); }
  n = msgrcv(id, &m, sizeof m.text, 2, 0);
  printf("%d %ld %s\n", n, m.type, m.text);
  n = msgrcv(id, &m, 3, 0, 0);
  printf("too long %d\n", failed_with(n, E2BIG));
  n = msgrcv(id, &m, 3, 1, MSG_NOERROR);
  printf("%d %ld %.3s\n", n, m.type, m.text);
  n = msgrcv(id, &m, sizeof m.text, -5, 0);
  printf("%d %ld %s\n", n, m.type, m.text);
  n = msgrcv(id, &m, sizeof m.text, 0, IPC_NOWAIT);
  printf("none %d\n", failed_with(n, ENOMSG));
  if (!(child = fork())) { usleep(50000); m.type = 8; strcpy(m.text, "late"); msgsnd(id, &m, 5, 0); _exit(0); }
  n = msgrcv(id, &m, sizeof m.text, 7, MSG_EXCEPT);
  printf("%d %ld %s\n", n, m.type, m.text);
  waitpid(child, &status, 0);
  memset(&queue, 0, sizeof queue);
  m.type = 1; msgsnd(id, &m, 10, 0);
  msgctl(id, IPC_STAT, &queue);
  printf("holds %ld, at most %ld, sent by %d %d\n", (long)queue.msg_qnum, (long)queue.msg_qbytes, queue.msg_lspid == getpid(), queue.msg_stime > 0);
  m.type = 0;
  printf("bad type %d\n", failed_with(msgsnd(id, &m, 1, 0), EINVAL));
  msgctl(id, IPC_RMID, 0);
  printf("gone %d\n", failed_with(msgsnd(id, &m, 1, 0), EINVAL));
  return 0;
}
