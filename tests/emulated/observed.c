#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>

int counter;
struct record { char before[8]; long inside; short last; } record;

__attribute__((noinline)) static int helper(int x) { return x * 3; }
__attribute__((noinline)) int add(int x) { counter += helper(x); return counter; }
__attribute__((noinline)) int never(int x) { return x - 1; }
static int compare(const void *a, const void *b) { return *(const int *) a - *(const int *) b; }

int main(int argc, char **argv)
{
    int numbers[6] = {5, 3, 9, 1, 7, 2};
    for (int i = 0; i < 5; i++) add(i);
    record.inside = counter;
    record.last = 7;
    qsort(numbers, 6, sizeof *numbers, compare);
    char *copy = strdup(argv[argc - 1]);
    printf("%d %zu %d %d\n", counter, strlen(copy), numbers[0], (int) strtol(copy, 0, 10));
    free(copy);
    if (argc > 2) {
        fflush(stdout);
        if (!fork()) { add(100); _exit(never(5)); }
        int status;
        wait(&status);
        printf("child %d\n", status >> 8);
    }
    return argc == 99 ? never(argc) : 3;
}
