//: lib liba.so
//: main -la -Wl,-z,lazy
//: musl
//: stdout "child 5"
//: stdout "parent 5"

#ifdef LIB_A
int five(void) { return 5; }
#else
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int five(void);
int main(void) {
    pid_t child = fork();
    if (child == 0) {
        printf("child %d\n", five());
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, 0, 0);
    printf("parent %d\n", five());
}
#endif
