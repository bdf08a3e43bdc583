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
    if (ask(21) == -38) /* mount; ENOSYS */
        put("nothing is mounted here\n");
    poke((int *)16);
}
