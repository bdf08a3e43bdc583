// Another program, its output through a pipe; arguments; exit codes.
#include <windows.h>
#include <stdio.h>
#include <string.h>

static int child(int argc, char **argv) {
    char text[100];
    int i;
    DWORD n;
    fprintf(stderr, "on standard error\n");
    for (i = 1; i < argc; i++) printf("[%s]", argv[i]);
    n = GetEnvironmentVariableA("GIVEN", text, 100);
    printf(" GIVEN %s", n ? text : "-");
    if (fgets(text, 100, stdin)) printf(" read %s", text);
    printf("done\n");
    return 0x12345;
}

int main(int argc, char **argv) {
    char own[300], line[600], text[1000];
    HANDLE read, write, in_read, in_write;
    STARTUPINFOA si = {sizeof si};
    PROCESS_INFORMATION pi;
    SECURITY_ATTRIBUTES sa = {sizeof sa, 0, TRUE};
    DWORD n, code, total = 0;

    if (argc > 1) return child(argc, argv);
    GetModuleFileNameA(0, own, sizeof own);
    SetLastError(0);
    memset(&pi, 0, sizeof pi);
    strcpy(line, "nothing_of_that_name.exe x");
    printf("missing %d", CreateProcessA(0, line, 0, 0, FALSE, 0, 0, 0, &si, &pi));
    printf(" error %lu\n", GetLastError());
    CloseHandle(CreateFileA("text.exe", GENERIC_WRITE, 0, 0, CREATE_ALWAYS, 0, 0));
    strcpy(line, "text.exe");
    printf("no program %d", CreateProcessA("text.exe", line, 0, 0, FALSE, 0, 0, 0, &si, &pi));
    printf(" error %lu\n", GetLastError());
    DeleteFileA("text.exe");

    SetEnvironmentVariableA("GIVEN", "to the child");
    CreatePipe(&read, &write, &sa, 0);
    CreatePipe(&in_read, &in_write, &sa, 0);
    SetHandleInformation(read, HANDLE_FLAG_INHERIT, 0);
    SetHandleInformation(in_write, HANDLE_FLAG_INHERIT, 0);
    si.dwFlags = STARTF_USESTDHANDLES;
    si.hStdInput = in_read, si.hStdOutput = write, si.hStdError = write;
    sprintf(line, "\"%s\" child \"two words\" a\\\\b \"q\\\"uote\" \"\"", own);
    printf("start %d\n", CreateProcessA(0, line, 0, 0, TRUE, 0, 0, 0, &si, &pi));
    CloseHandle(write);
    CloseHandle(in_read);
    WriteFile(in_write, "a line\n", 7, &n, 0);
    CloseHandle(in_write);
    while (ReadFile(read, text + total, sizeof text - 1 - total, &n, 0) && n) total += n;
    text[total] = 0;
    printf("end %lu\n%s", GetLastError(), text);
    printf("wait %lu", WaitForSingleObject(pi.hProcess, 10000));
    printf(" code %d", GetExitCodeProcess(pi.hProcess, &code));
    printf(" %lx id %d\n", code, GetProcessId(pi.hProcess) == pi.dwProcessId);
    printf("close %d %d\n", CloseHandle(pi.hThread), CloseHandle(pi.hProcess));
    printf("mine %d", GetExitCodeProcess(GetCurrentProcess(), &code));
    printf(" %lu\n", code);
    fflush(stdout);
    TerminateProcess(GetCurrentProcess(), 9);
    return 1;
}
