# C: malloc in threads, brk, mmap, memfd, shm_open, mq, semaphores, large TLS, alloca, setjmp, ucontext, getauxval, environ
# needs: gcc
# with:
# with: --lazy
# with: --interp
cat >t.c <<'END'
#define _GNU_SOURCE
#include <aio.h>
#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <ucontext.h>
#include <unistd.h>
__thread char huge[3 << 20]; __thread struct { _Alignas(4096) int a; } page = { 7 }; extern char **environ, etext, edata, end; static jmp_buf j; static ucontext_t a, b;
static void *churn(void *p) { void *v[64] = { 0 }; unsigned s = (unsigned)(long)p; for (int i = 0; i < 20000; i++) { s = s * 1103515245 + 12345; int k = s >> 8 & 63; free(v[k]); v[k] = malloc(s >> 16 & 4095); if (v[k]) memset(v[k], k, s >> 16 & 4095); } for (int i = 0; i < 64; i++) free(v[i]); huge[(3 << 20) - 1] = 1; return (void *)(long)(page.a == 7 && ((long)&page & 4095) == 0 && huge[0] == 0); }
static void co(int x) { printf("in context %d\n", x); swapcontext(&b, &a); puts("again"); }
static int rec(int n) { if (!n) longjmp(j, 5); return rec(n - 1) + 1; }
int main(int argc, char **argv, char **envp) {
    pthread_t t[8]; void *r; int ok = 0; for (long i = 0; i < 8; i++) pthread_create(&t[i], 0, churn, (void *)i); for (int i = 0; i < 8; i++) { pthread_join(t[i], &r); ok += (long)r; } printf("%d %d\n", ok, page.a);
    char *b0 = sbrk(0); sbrk(1 << 20); b0[100] = 1; printf("brk %d %d\n", (char *)sbrk(0) - b0 == 1 << 20, b0 >= &end); printf("%d\n", &etext < &edata && &edata <= &end); 
    int fd = memfd_create("x", 0); ftruncate(fd, 8192); char *m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); strcpy(m, "memfd"); char s[10] = { 0 }; pread(fd, s, 5, 0); puts(s); m = mremap(m, 8192, 1 << 20, MREMAP_MAYMOVE); puts(m);
    char name[40]; sprintf(name, "/rtld-%d", getpid()); fd = shm_open(name, O_CREAT | O_RDWR, 0600); printf("shm %d\n", fd >= 0); shm_unlink(name); sem_t *se = sem_open(name, O_CREAT, 0600, 2); sem_wait(se); int v; sem_getvalue(se, &v); printf("sem %d\n", v); sem_unlink(name); mqd_t q = mq_open(name, O_CREAT | O_RDWR, 0600, 0); if (q != (mqd_t)-1) { mq_send(q, "msg", 4, 1); char mb[9000]; mq_receive(q, mb, 9000, 0); mq_unlink(name); puts(mb); } int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600); char *sh = shmat(id, 0, 0); strcpy(sh, "sysv"); puts(sh); shmdt(sh); shmctl(id, IPC_RMID, 0);
    int k = setjmp(j); if (!k) rec(1000); printf("longjmp %d\n", k); getcontext(&b); b.uc_stack.ss_sp = malloc(65536); b.uc_stack.ss_size = 65536; b.uc_link = &a; makecontext(&b, (void (*)(void))co, 1, 42); swapcontext(&a, &b); puts("between"); swapcontext(&a, &b);
    printf("aux %d %d %d %s\n", getauxval(AT_PAGESZ) == 4096, getauxval(AT_PHNUM) > 5, getauxval(AT_SECURE) == 0, strrchr((char *)getauxval(AT_EXECFN), '/')); printf("random %d entry %d base %d\n", getauxval(AT_RANDOM) != 0, getauxval(AT_ENTRY) != 0, getauxval(AT_BASE) != 0); setenv("NEW", "1", 1); printf("%d %s %d\n", environ != envp, getenv("NEW"), argc); clearenv(); printf("%d\n", environ == 0 || !*environ);
    struct aiocb c = { .aio_fildes = open(argv[0], O_RDONLY), .aio_buf = s, .aio_nbytes = 4 }; aio_read(&c); while (aio_error(&c) == EINPROGRESS) usleep(100); printf("aio %d %.3s\n", (int)aio_return(&c), s + 1); char *al = alloca(500000); memset(al, 1, 500000); posix_memalign(&r, 1 << 16, 100); printf("%d\n", ((long)r & 65535) == 0); struct rlimit rl; getrlimit(RLIMIT_STACK, &rl); printf("%d\n", rl.rlim_cur > 0); void *x = mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); memcpy(x, "\xb8\x2a\0\0\0\xc3", 6); printf("jit %d\n", ((int (*)(void))x)()); printf("big %d\n", malloc((size_t)1 << 62) == 0); malloc_trim(0); printf("%d\n", mallinfo2().arena > 0); return 0;
}
END
gcc -w -O1 t.c -o t -pthread -lrt; gcc -w -O1 -no-pie -fno-pie t.c -o tn -pthread
#== run
$RUN ./t x; echo "status $?"; $RUN ./tn; echo "status $?"; ulimit -s unlimited; $RUN ./t 2>&1; ulimit -s 256; $RUN ./t
