int counter = 19;

int twice(int n)
{
    return 2 * n;
}
