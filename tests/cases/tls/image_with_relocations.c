//: lib liba.so
//: main -la
//: musl
//: stdout "hello 9"
//: stdout "hello 9"

// .tdata that has relocations itself: new threads get the relocated bytes.
#ifdef LIB_A
int nine = 9;
__thread const char *text = "hello";
__thread int *pointer = &nine;
const char *get_text(void) { return text; }
int *get_pointer(void) { return pointer; }
#else
#include <pthread.h>
#include <stdio.h>
const char *get_text(void);
int *get_pointer(void);
static void *thread(void *unused) {
    printf("%s %d\n", get_text(), *get_pointer());
    return unused;
}
int main(void) {
    pthread_t id;
    thread(0);
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, 0);
}
#endif
