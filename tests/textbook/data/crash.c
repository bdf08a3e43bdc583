extern void put(const char *);

int ask(int number)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number) : "memory");
    return result;
}

void poke(int *place)
{
    *place = 1;
}

void _start(void)
{
    if (ask(20) == -38) /* getpid; ENOSYS */
        put("no process number here\n");
    poke((int *)16);
}
