//: lib liba.so
//: main -la
//: args one two
//: env SHOWN=yes
//: stdout "library: 3 one two yes"
//: stdout "program: 3 one two yes"

// glibc gives initialisers argc, argv and envp; libraries too.
#include <stdio.h>
#include <string.h>
#ifdef LIB_A
#define WHO "library"
#else
#define WHO "program"
int main(void) {}
#endif
__attribute__((constructor)) static void init(int argc, char **argv, char **envp) {
    const char *shown = "no";
    for (; *envp; ++envp)
        if (!strncmp(*envp, "SHOWN=", 6)) shown = *envp + 6;
    printf("%s: %d %s %s %s\n", WHO, argc, argv[1], argv[2], shown);
}
