/* A program with three delay-loaded DLLs: far.dll, near.dll, which is not there, and half.dll, which lacks a function. */
#include "own.h"
#include "delay.h"
IMPORT int far_add(int, int);
IMPORT double far_mix(double, int, double, float, double, int);
IMPORT int far_numbered(int);
IMPORT QWORD far_wide(QWORD, int);
IMPORT int near_nothing(int);
IMPORT int half_there(int);
IMPORT int half_missing(int);

static const char *const events[] = {"start", "load", "address", "no DLL", "no function", "end"};
static int __cdecl instead(int x) { return x + 10000; }

static void *__stdcall tell(unsigned event, struct told *t) {
    say(events[event]); say(" "); say(t->dll); say(" ");
    if (t->by_name) { say(t->symbol.name); say("\n"); }
    else say_number("ordinal", (long)t->symbol.ordinal);
    return 0;
}

static void *__stdcall failed(unsigned event, struct told *t) {
    tell(event, t);
    say_number("error", (long)t->error);
    return event == FAIL_LOAD ? LoadLibraryA("far.dll") : (void *)instead;
}

static void all(void) {
    say_number("add", far_add(40, 2));
    say_number("mix", (long)far_mix(1.5, 2, 2.5, 4.0f, 8.0, 100));
    say_number("numbered", far_numbered(6));
    say_number("wide", far_wide(0x100000001ULL, 4) == 0x1000000011ULL);
    say_number("again", far_add(1, 2));
}

void start(void) {
    on_event = tell;
    on_failure = failed;
    say_number("before", GetModuleHandleA("far.dll") != 0);
    all();
    say_number("loaded", GetModuleHandleA("far.dll") != 0);
#ifdef FAILING
    say_number("nothing", near_nothing(5));
    say_number("there", half_there(5));
    say_number("missing", half_missing(5));
#endif
#ifdef UNLOADED
    say_number("unload", __FUnloadDelayLoadedDLL2("near.dll")); /* it was far.dll, too */
    say_number("unload", __FUnloadDelayLoadedDLL2("far.dll"));
    say_number("twice", __FUnloadDelayLoadedDLL2("far.dll"));
    all();
#endif
    ExitProcess(8);
}
