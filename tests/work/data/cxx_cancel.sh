# C++: thread cancellation and pthread_exit run destructors and catch (...) in program, library and plugin; exit from threads; foreign unwinding
# needs: g++
# with:
# with: --lazy
cat >l.cc <<'END'
#include <cstdio>
#include <pthread.h>
#include <unistd.h>
extern int gone; struct L { ~L() { __sync_fetch_and_add(&gone, 1); } }; extern "C" void NAME(void (*f)()) { L l; f(); } extern "C" void NAME2() { L l; for (;;) sleep(100); }
END
cat >t.cc <<'END'
#include <cstdio>
#include <cstdlib>
#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdexcept>
#include <unistd.h>
#include <unwind.h>
int gone; struct G { ~G() { __sync_fetch_and_add(&gone, 100); } }; extern "C" void through(void (*)()); extern "C" void sleeps(); static void (*plug)(void (*)()), (*psleep)(); static sem_t sem;
static void *cancelled(void *p) { G g; sem_post(&sem); try { through([] { plug([] { G g; psleep(); }); }); } catch (abi::__forced_unwind &) { puts("forced"); throw; } catch (...) { puts("any"); throw; } return p; }
static void *leaves(void *p) { G g; through([] { plug([] { pthread_exit((void *)5); }); }); return p; }
static _Unwind_Reason_Code count(_Unwind_Context *c, void *p) { ++*(int *)p; return _URC_NO_REASON; }
int main() {
    sem_init(&sem, 0, 0); void *h = dlopen("./libp.so", RTLD_NOW); if (!h) { puts(dlerror()); return 1; } plug = (void (*)(void (*)()))dlsym(h, "plug"); psleep = (void (*)())dlsym(h, "plug_sleeps"); pthread_t t; void *r;
    pthread_create(&t, 0, cancelled, 0); sem_wait(&sem); usleep(50000); pthread_cancel(t); pthread_join(t, &r); printf("%d %d\n", r == PTHREAD_CANCELED, gone); pthread_create(&t, 0, leaves, 0); pthread_join(t, &r); printf("%ld %d\n", (long)r, gone);
    static int frames; through([] { plug([] { _Unwind_Backtrace(count, &frames); }); }); printf("%d\n", frames > 5); for (int i = 0; i < 200; i++) try { through([] { plug([] { throw std::runtime_error("x"); }); }); } catch (std::exception &) { } printf("%d\n", gone); fflush(stdout); pthread_create(&t, 0, [](void *) -> void * { usleep(50000); puts("last thread"); exit(6); }, 0); pthread_exit(0);
}
END
sed 's/NAME2/sleeps/; s/NAME/through/' l.cc >l1.cc; sed 's/NAME2/plug_sleeps/; s/NAME/plug/' l.cc >l2.cc; g++ -shared -fPIC l1.cc -o libl.so; g++ -shared -fPIC l2.cc -o libp.so; g++ -w t.cc -o t -rdynamic -L. -ll -Wl,-rpath,'$ORIGIN' -pthread
#== run
$RUN ./t; echo "status $?";
