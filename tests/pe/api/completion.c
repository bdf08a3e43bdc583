/* Requests that end later: completion ports, overlapped files and pipes, APCs, registered waits, timers and waits of a pool. */
#define _WIN32_WINNT 0x0601
#include <stdio.h>
#include <string.h>
#include <windows.h>

#define SAY(what, expression) do { int ok_ = (expression); DWORD error_ = GetLastError(); printf("%s %d %lu\n", what, ok_, ok_ ? 0 : error_); } while (0)

static HANDLE port, done;

static void packets(const char *what, DWORD wait)
{
    OVERLAPPED_ENTRY e[8];
    ULONG n = 99, i;
    BOOL ok = GetQueuedCompletionStatusEx(port, e, 8, &n, wait, FALSE);
    printf("%s: %d %lu %lu", what, ok, ok ? n : 0, ok ? 0 : GetLastError());
    for (i = 0; ok && i < n; i++)
        printf(" [%lu %lu %d]", (unsigned long)e[i].lpCompletionKey, e[i].dwNumberOfBytesTransferred, e[i].lpOverlapped != NULL);
    puts("");
}

static VOID CALLBACK ended(DWORD error, DWORD count, OVERLAPPED *o) { printf("routine %lu %lu %lx\n", error, count, (unsigned long)(ULONG_PTR)o->hEvent); }
static VOID CALLBACK registered(PVOID context, BOOLEAN late) { printf("registered %s %d\n", (char *)context, late); SetEvent(done); }
static VOID CALLBACK timed(PTP_CALLBACK_INSTANCE i, PVOID context, PTP_TIMER t) { printf("timer %s\n", (char *)context); SetEvent(done); }
static VOID CALLBACK waited(PTP_CALLBACK_INSTANCE i, PVOID context, PTP_WAIT w, TP_WAIT_RESULT r) { printf("wait %s %lu\n", (char *)context, (unsigned long)r); SetEvent(done); }
static DWORD WINAPI poster(void *p) { Sleep(30); PostQueuedCompletionStatus(port, 7, 8, p); return 0; }
static DWORD WINAPI writer(void *p) { DWORD n; Sleep(30); WriteFile(p, "later", 5, &n, NULL); return n; }

static void files(void)
{
    HANDLE f = CreateFileA("o.bin", GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_FLAG_OVERLAPPED, NULL);
    OVERLAPPED o = {0};
    char buffer[16] = "";
    DWORD n = 0;
    o.hEvent = CreateEventA(NULL, TRUE, FALSE, NULL);
    o.Offset = 4;
    printf("port of the file %d\n", CreateIoCompletionPort(f, port, 21, 0) == port);
    WriteFile(f, "overlapped", 10, NULL, &o);
    printf("written %d %lu\n", GetOverlappedResult(f, &o, &n, TRUE), n);
    printf("event %lu\n", WaitForSingleObject(o.hEvent, 0));
    packets("write", 1000);
    o.Offset = 8;
    ReadFile(f, buffer, 6, NULL, &o);
    printf("read %d %lu %s\n", GetOverlappedResult(f, &o, &n, TRUE), n, buffer);
    packets("read", 1000);
    o.hEvent = (HANDLE)((ULONG_PTR)o.hEvent | 1); /* the port is not told */
    ReadFile(f, buffer, 4, NULL, &o);
    GetOverlappedResult(f, &o, &n, TRUE);
    packets("hidden", 0);
    CloseHandle(f);
    f = CreateFileA("o.bin", GENERIC_READ, 0, NULL, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, NULL);
    memset(&o, 0, sizeof o);
    o.hEvent = (HANDLE)(ULONG_PTR)0x1234;
    printf("ReadFileEx %d\n", ReadFileEx(f, buffer, 10, &o, ended));
    printf("SleepEx %lu\n", SleepEx(1000, TRUE));
    CloseHandle(f);
    DeleteFileA("o.bin");
}

static void pipes(void)
{
    const char *name = "\\\\.\\pipe\\rtld-test";
    HANDLE client, thread, server = CreateNamedPipeA(name, PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED, PIPE_TYPE_BYTE, 1, 4096, 4096, 0, NULL);
    OVERLAPPED o = {0}, r = {0};
    char buffer[32] = "";
    DWORD n = 0;
    SAY("second", CreateNamedPipeA(name, PIPE_ACCESS_DUPLEX, PIPE_TYPE_BYTE, 1, 0, 0, 0, NULL) != INVALID_HANDLE_VALUE);
    CreateIoCompletionPort(server, port, 33, 0);
    SAY("connect", ConnectNamedPipe(server, &o));
    client = CreateFileA(name, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
    printf("client %d\n", client != INVALID_HANDLE_VALUE);
    packets("connected", 1000);
    SAY("again", ConnectNamedPipe(server, &o));
    SAY("third", CreateFileA(name, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL) != INVALID_HANDLE_VALUE);
    SAY("read", ReadFile(server, buffer, 16, NULL, &r));
    SAY("incomplete", GetOverlappedResult(server, &r, &n, FALSE));
    thread = CreateThread(NULL, 0, writer, client, 0, NULL);
    packets("from a thread", 5000);
    printf("%.5s\n", buffer);
    WaitForSingleObject(thread, INFINITE);
    WriteFile(server, "answer", 6, NULL, &o);
    packets("to the client", 1000);
    printf("PeekNamedPipe %d %lu\n", PeekNamedPipe(client, NULL, 0, NULL, &n, NULL), n);
    printf("client reads %d", ReadFile(client, buffer, 16, &n, NULL));
    printf(" %lu %.6s\n", n, buffer);
    ReadFile(server, buffer, 16, NULL, &r);
    printf("cancel %d\n", CancelIoEx(server, &r));
    SAY("cancelled", GetOverlappedResult(server, &r, &n, TRUE));
    packets("cancelled", 1000);
    SAY("nothing to cancel", CancelIoEx(server, &r));
    ReadFile(server, buffer, 16, NULL, &r);
    CloseHandle(client);
    SAY("broken", GetOverlappedResult(server, &r, &n, TRUE));
    CloseHandle(server);
    SAY("gone", CreateFileA(name, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL) != INVALID_HANDLE_VALUE);
}

int main(void)
{
    HANDLE event, wait, thread;
    LARGE_INTEGER due = {.QuadPart = -200000};
    PTP_TIMER timer;
    PTP_WAIT pool;
    DWORD n;
    ULONG_PTR key;
    OVERLAPPED *o = (void *)1;
    setvbuf(stdout, NULL, _IONBF, 0);
    port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    done = CreateEventA(NULL, FALSE, FALSE, NULL);
    packets("empty", 0);
    PostQueuedCompletionStatus(port, 1, 2, NULL);
    PostQueuedCompletionStatus(port, 3, 4, (void *)&n);
    packets("posted", 0);
    thread = CreateThread(NULL, 0, poster, &n, 0, NULL);
    printf("one %d", GetQueuedCompletionStatus(port, &n, &key, &o, 5000));
    printf(" %lu %lu %d\n", n, (unsigned long)key, o == (void *)&n);
    WaitForSingleObject(thread, INFINITE);
    SAY("none", GetQueuedCompletionStatus(port, &n, &key, &o, 10));
    files();
    pipes();
    event = CreateEventA(NULL, FALSE, FALSE, NULL);
    printf("register %d\n", RegisterWaitForSingleObject(&wait, event, registered, "set", INFINITE, WT_EXECUTEONLYONCE));
    SetEvent(event);
    WaitForSingleObject(done, 5000);
    printf("unregister %d\n", UnregisterWaitEx(wait, INVALID_HANDLE_VALUE));
    printf("register %d\n", RegisterWaitForSingleObject(&wait, event, registered, "late", 20, WT_EXECUTEONLYONCE));
    WaitForSingleObject(done, 5000);
    printf("unregister %d\n", UnregisterWaitEx(wait, INVALID_HANDLE_VALUE));
    timer = CreateThreadpoolTimer(timed, "soon", NULL);
    SetThreadpoolTimer(timer, (FILETIME *)&due, 0, 0);
    printf("%lu\n", WaitForSingleObject(done, 5000));
    WaitForThreadpoolTimerCallbacks(timer, TRUE);
    CloseThreadpoolTimer(timer);
    pool = CreateThreadpoolWait(waited, "event", NULL);
    SetThreadpoolWait(pool, event, NULL);
    SetEvent(event);
    printf("%lu\n", WaitForSingleObject(done, 5000));
    WaitForThreadpoolWaitCallbacks(pool, TRUE);
    CloseThreadpoolWait(pool);
    return 3;
}
