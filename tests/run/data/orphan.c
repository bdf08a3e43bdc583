// A child that goes on when the program has ended (or, with a third argument, when the linker has been killed).
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (fork()) return argc > 3 ? pause() : 0;
    setsid();
    while (getppid() != 1 && access(argv[1], F_OK)) usleep(10000);
    usleep(300000);
    double power = pow(argc, 3);
    void *handle = dlopen("libz.so.1", RTLD_NOW);
    FILE *file = fopen(argv[2], "w");
    fprintf(file, "%.0f %d\n", power, handle != 0);
    fclose(file);
    _exit(0);
}
