typedef unsigned int UINT; typedef unsigned long DWORD; typedef int BOOL; typedef unsigned long long U64;
#ifdef _WIN64
typedef unsigned long long ULONG_PTR;
#else
typedef unsigned long ULONG_PTR;
#endif
typedef struct EXCEPTION_RECORD { DWORD ExceptionCode, ExceptionFlags; struct EXCEPTION_RECORD *ExceptionRecord; void *ExceptionAddress; DWORD NumberParameters; ULONG_PTR ExceptionInformation[15]; } EXCEPTION_RECORD;
typedef struct { EXCEPTION_RECORD *ExceptionRecord; void *ContextRecord; } EXCEPTION_POINTERS;
__declspec(dllimport) void __stdcall RaiseException(DWORD, DWORD, DWORD, const ULONG_PTR *);
int printf(const char *, ...); int puts(const char *);
#define GetExceptionCode _exception_code
#define GetExceptionInformation() ((EXCEPTION_POINTERS *)_exception_info())
#define AbnormalTermination _abnormal_termination
#define EXCEPTION_NONCONTINUABLE 1
