// Locks, condition variables, once, lists, timers, pools, fiber-local slots, APCs.
#define _WIN32_WINNT 0x0602
#include <windows.h>
#include <stdio.h>

static SRWLOCK slim = SRWLOCK_INIT;
static CONDITION_VARIABLE ready = CONDITION_VARIABLE_INIT;
static CRITICAL_SECTION section;
static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
static volatile LONG queue, taken, readers, most, calls;
static DWORD fls;
static HANDLE mutex;

static DWORD WINAPI consumer(void *p) {
    int i;
    for (i = 0; i < 3; i++) {
        EnterCriticalSection(&section);
        while (!queue) SleepConditionVariableCS(&ready, &section, INFINITE);
        queue--, taken++;
        LeaveCriticalSection(&section);
    }
    return 0;
}
static DWORD WINAPI reader(void *p) {
    AcquireSRWLockShared(&slim);
    LONG now = InterlockedIncrement(&readers);
    if (now > most) most = now;
    for (int i = 0; i < 2000 && most < 3; i++) Sleep(5);  /* until all are here */
    InterlockedDecrement(&readers);
    ReleaseSRWLockShared(&slim);
    return 0;
}
static DWORD WINAPI try_it(void *p) { return TryAcquireSRWLockExclusive(&slim) * 2 + TryAcquireSRWLockShared(&slim); }
static BOOL CALLBACK first(PINIT_ONCE o, void *parameter, void **context) { calls++; *context = parameter; return TRUE; }
static void CALLBACK pooled(PTP_CALLBACK_INSTANCE i, void *context, PTP_WORK w) { InterlockedExchangeAdd((LONG *)context, 5); }
static DWORD WINAPI item(void *event) { SetEvent(event); return 0; }
static void CALLBACK tick(void *context, BOOLEAN fired) { InterlockedIncrement((LONG *)context); }
static void WINAPI slot_left(void *value) { printf("slot left %s\n", (char *)value); fflush(stdout); }
static DWORD WINAPI with_slot(void *p) { FlsSetValue(fls, "of the thread"); return 0; }
static DWORD WINAPI leaves_mutex(void *p) { WaitForSingleObject(mutex, INFINITE); return 0; }
static void CALLBACK apc(ULONG_PTR value) { printf("apc %d\n", (int)value); }
static DWORD WINAPI sleeper(void *p) { DWORD r = SleepEx(INFINITE, TRUE); printf("slept %lx\n", r); fflush(stdout); return 0; }

int main(void) {
    HANDLE t[4], event, timer;
    DWORD code, i;
    LONG sum = 0;
    void *context = 0;
    BOOL pending;
    LARGE_INTEGER due;
    static SLIST_HEADER __attribute__((aligned(16))) head;
    static SLIST_ENTRY __attribute__((aligned(16))) entries[8];
    SLIST_HEADER *list = &head;
    SLIST_ENTRY *e;
    PTP_WORK work;
    INIT_ONCE again = INIT_ONCE_STATIC_INIT;

    InitializeCriticalSectionAndSpinCount(&section, 100);
    for (i = 0; i < 2; i++) t[i] = CreateThread(0, 0, consumer, 0, 0, 0);
    for (i = 0; i < 6; i++) {
        EnterCriticalSection(&section);
        queue++;
        LeaveCriticalSection(&section);
        if (i % 2) WakeAllConditionVariable(&ready); else WakeConditionVariable(&ready);
        Sleep(1);
    }
    WakeAllConditionVariable(&ready);
    code = WaitForMultipleObjects(2, t, TRUE, 30000);  /* first: arguments are evaluated in any order */
    printf("all %lu taken %ld left %ld\n", code, taken, queue);
    EnterCriticalSection(&section);
    printf("no one wakes %d", SleepConditionVariableCS(&ready, &section, 10));
    printf(" error %lu\n", GetLastError());
    LeaveCriticalSection(&section);

    for (i = 0; i < 3; i++) t[i] = CreateThread(0, 0, reader, 0, 0, 0);
    WaitForMultipleObjects(3, t, TRUE, INFINITE);
    printf("readers together %ld\n", most);
    AcquireSRWLockShared(&slim);
    t[0] = CreateThread(0, 0, try_it, 0, 0, 0);
    WaitForSingleObject(t[0], INFINITE);
    GetExitCodeThread(t[0], &code);
    printf("while shared %lu\n", code);
    ReleaseSRWLockShared(&slim);
    ReleaseSRWLockShared(&slim);
    AcquireSRWLockExclusive(&slim);
    t[0] = CreateThread(0, 0, try_it, 0, 0, 0);
    WaitForSingleObject(t[0], INFINITE);
    GetExitCodeThread(t[0], &code);
    printf("while owned %lu\n", code);
    ReleaseSRWLockExclusive(&slim);

    for (i = 0; i < 2; i++) printf("once %d calls %ld context %d\n", InitOnceExecuteOnce(&once, first, (void *)0x120, &context), calls, (int)(INT_PTR)context);
    printf("begin %d", InitOnceBeginInitialize(&again, 0, &pending, &context));
    printf(" pending %d complete %d", pending, InitOnceComplete(&again, 0, (void *)0x40));
    printf(" begin %d", InitOnceBeginInitialize(&again, 0, &pending, &context));
    printf(" pending %d context %d\n", pending, (int)(INT_PTR)context);

    InitializeSListHead(list);
    printf("push %d", InterlockedPushEntrySList(list, &entries[0]) == 0);
    printf(" %d depth %d", InterlockedPushEntrySList(list, (SLIST_ENTRY *)((char *)entries + 16)) == &entries[0], QueryDepthSList(list));
    e = InterlockedPopEntrySList(list);
    printf(" pop %d left %d", (int)((char *)e - (char *)entries), QueryDepthSList(list));
    printf(" flush %d empty %d\n", InterlockedFlushSList(list) == entries, InterlockedPopEntrySList(list) == 0);

    work = CreateThreadpoolWork(pooled, &sum, 0);
    for (i = 0; i < 4; i++) SubmitThreadpoolWork(work);
    WaitForThreadpoolWorkCallbacks(work, FALSE);
    CloseThreadpoolWork(work);
    printf("pool %ld\n", sum);
    event = CreateEventA(0, FALSE, FALSE, "rtld event");
    QueueUserWorkItem(item, event, 0);
    printf("item %lu\n", WaitForSingleObject(event, 5000));
    t[0] = OpenEventA(EVENT_ALL_ACCESS, FALSE, "rtld event");
    SetEvent(t[0]);
    printf("named %lu\n", WaitForSingleObject(event, 0));
    t[1] = CreateEventW(0, FALSE, FALSE, L"rtld event");
    printf("exists %lu\n", GetLastError());
    t[1] = CreateMutexA(0, FALSE, "rtld event");
    printf("other kind %d error %lu\n", t[1] != 0, GetLastError());

    sum = 0;
    CreateTimerQueueTimer(&timer, 0, tick, &sum, 5, 5, 0);
    while (sum < 3) Sleep(5);
    printf("timer queue %d", DeleteTimerQueueTimer(0, timer, INVALID_HANDLE_VALUE));
    i = sum;
    Sleep(30);
    printf(" stopped %d\n", (LONG)i == sum);
    timer = CreateWaitableTimerA(0, FALSE, 0);
    printf("not set %lu", WaitForSingleObject(timer, 5));
    due.QuadPart = -100000;
    SetWaitableTimer(timer, &due, 0, 0, 0, FALSE);
    printf(" set %lu", WaitForSingleObject(timer, 5000));
    printf(" again %lu\n", WaitForSingleObject(timer, 5));

    t[0] = CreateSemaphoreA(0, 1, 2, 0);
    printf("semaphore %lu %lu", WaitForSingleObject(t[0], 0), WaitForSingleObject(t[0], 0));
    printf(" release %d", ReleaseSemaphore(t[0], 2, (LONG *)&code));
    printf(" was %lu more %d", code, ReleaseSemaphore(t[0], 1, 0));
    printf(" error %lu\n", GetLastError());
    mutex = CreateMutexA(0, FALSE, 0);
    t[0] = CreateThread(0, 0, leaves_mutex, 0, 0, 0);
    WaitForSingleObject(t[0], INFINITE);
    printf("abandoned %lx", WaitForSingleObject(mutex, 1000));
    printf(" mine %lx release %d %d", WaitForSingleObject(mutex, 0), ReleaseMutex(mutex), ReleaseMutex(mutex));
    printf(" %d", ReleaseMutex(mutex));
    printf(" error %lu\n", GetLastError());
    printf("signal and wait %lx\n", SignalObjectAndWait(event, event, 1000, FALSE));

    t[0] = CreateThread(0, 0, sleeper, 0, 0, 0);
    Sleep(20);
    code = QueueUserAPC(apc, t[0], 7);
    WaitForSingleObject(t[0], INFINITE);
    printf("queue %lu\n", code);
    fflush(stdout);
    QueueUserAPC(apc, GetCurrentThread(), 8);
    printf("sleep %lx\n", SleepEx(0, FALSE));
    printf("alertable %lx\n", WaitForSingleObjectEx(event, 1000, TRUE));

    t[0] = CreateThread(0, 0, try_it, 0, CREATE_SUSPENDED, 0);
    printf("suspended %lu", WaitForSingleObject(t[0], 20));
    printf(" %lu", SuspendThread(t[0]));
    printf(" %lu\n", ResumeThread(t[0]));
    code = ResumeThread(t[0]);
    printf("resumed %lu %lu\n", code, WaitForSingleObject(t[0], 5000));
    printf("priority %d", SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_HIGHEST));
    printf(" %d\n", GetThreadPriority(GetCurrentThread()));

    fls = FlsAlloc(slot_left);
    FlsSetValue(fls, "of main");
    t[0] = CreateThread(0, 0, with_slot, 0, 0, 0);
    WaitForSingleObject(t[0], INFINITE);
    printf("main has %s\n", (char *)FlsGetValue(fls));
    printf("free %d\n", FlsFree(fls));
    fls = FlsAlloc(slot_left);
    printf("anew %d\n", FlsGetValue(fls) == 0);
    FlsSetValue(fls, "at the end");
    fflush(stdout);
    return 0;
}
