#include <stdio.h>

void plugh(void);

int main(int argc, char **argv)
{
    (void)argv;
    puts("in the cave");
    fflush(stdout);
    if (argc > 1)
        plugh();
    puts("out again");
    return 0;
}
