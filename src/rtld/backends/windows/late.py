"""Functions whose files are read when one of them is called: most programs start without them.

File -> DLL -> its functions that this file declares.
"""

from __future__ import annotations

# fmt: off
#: What msvcrt.dll and ucrtbase.dll have both.
_MATH = """
    __libm_sse2_acos __libm_sse2_asin __libm_sse2_atan __libm_sse2_cos __libm_sse2_exp __libm_sse2_log __libm_sse2_log10
    __libm_sse2_pow __libm_sse2_sin __libm_sse2_sqrt __libm_sse2_tan _dclass _dsign _dtest _fdclass _fdsign _fdtest _ldclass _ldsign
    _ldtest _libm_sse2_acos_precise _libm_sse2_asin_precise _libm_sse2_atan_precise _libm_sse2_cos_precise _libm_sse2_exp_precise
    _libm_sse2_log10_precise _libm_sse2_log_precise _libm_sse2_pow_precise _libm_sse2_sin_precise _libm_sse2_sqrt_precise
    _libm_sse2_tan_precise acosf acosh acoshf asinf asinh asinhf atan2f atanf atanh atanhf cbrt cbrtf ceilf copysignf cosf coshf erf
    erfc erfcf erff exp2 exp2f expf expm1 expm1f fabsf fdim fdimf floorf fma fmaf fmax fmaxf fmin fminf fmodf hypotf ilogb ldexpf
    lgamma lgammaf llrint llround log10f log1p log1pf log2 log2f logb logbf logf lrint lround nearbyint nearbyintf nextafter
    nextafterf powf remainder remainderf rint rintf round roundf sinf sinhf sqrtf tanf tanhf tgamma tgammaf trunc truncf
"""
_MORE = """
    _beginthread _beginthreadex _controlfp_s _endthread _endthreadex _get_stream_buffer_pointers _heapwalk _set_abort_behavior
    _set_error_mode _wassert imaxabs iswctype wcscoll wcsxfrm
"""
_LOCALE = """
    _Getdays _Getmonths _Gettnames _Strftime _W_Getdays _W_Getmonths _W_Gettnames _Wcsftime ___lc_collate_cp_func
    ___lc_locale_name_func __strncnt _invoke_watson _lock_locales _set_new_handler _unlock_locales strtof wcsnlen
"""

LATE_FUNCTIONS: dict[str, dict[str, str]] = {
    "kernel32_pipes": {
        "kernel32.dll": """
            ConnectNamedPipe CreateNamedPipeA CreateNamedPipeW DisconnectNamedPipe GetNamedPipeClientProcessId GetNamedPipeHandleStateA
            GetNamedPipeHandleStateW GetNamedPipeInfo GetNamedPipeServerProcessId SetNamedPipeHandleState WaitNamedPipeA WaitNamedPipeW
        """,
    },
    "kernel32_completion": {
        "kernel32.dll": """
            CancelIo CancelIoEx CancelSynchronousIo CreateIoCompletionPort GetOverlappedResult GetOverlappedResultEx
            GetQueuedCompletionStatus GetQueuedCompletionStatusEx PostQueuedCompletionStatus ReadFileEx RegisterWaitForSingleObject
            SetFileCompletionNotificationModes UnregisterWait UnregisterWaitEx WriteFileEx
        """,
    },
    "kernel32_jobs": {
        "kernel32.dll": """
            AssignProcessToJobObject CreateJobObjectA CreateJobObjectW DeleteProcThreadAttributeList FlsGetValue2 FlushProcessWriteBuffers
            FreeLibraryWhenCallbackReturns GetActiveProcessorCount GetActiveProcessorGroupCount GetCurrentProcessorNumber
            GetCurrentProcessorNumberEx GetCurrentThreadStackLimits GetLogicalProcessorInformation GetLogicalProcessorInformationEx
            GetMaximumProcessorCount GetMaximumProcessorGroupCount GetNumaHighestNodeNumber GetProcessGroupAffinity GetProcessInformation
            GetThreadGroupAffinity GetThreadInformation InitializeProcThreadAttributeList IsProcessInJob K32EnumProcessModulesEx
            K32GetModuleBaseNameA K32GetModuleBaseNameW QueryInformationJobObject RaiseFailFastException SetInformationJobObject
            SetProcessInformation SetThreadGroupAffinity SetThreadInformation SetThreadStackGuarantee TerminateJobObject
            UpdateProcThreadAttribute WerGetFlags WerSetFlags
        """,
    },
    "kernel32_fibers": {
        "kernel32.dll": """
            ConvertFiberToThread ConvertThreadToFiber ConvertThreadToFiberEx CreateFiber CreateFiberEx DeleteFiber GetThreadContext
            IsThreadAFiber SetThreadContext SwitchToFiber
        """,
    },
    "kernel32_handles": {
        "kernel32.dll": """
            CreateConsoleScreenBuffer CreateFile2 CreateSymbolicLinkA CreateSymbolicLinkW FillConsoleOutputAttribute
            FillConsoleOutputCharacterA FillConsoleOutputCharacterW GetBinaryTypeA GetBinaryTypeW GetConsoleCursorInfo
            GetFileInformationByHandleEx GetTimeZoneInformationForYear GetVolumeInformationByHandleW GetVolumePathNameA GetVolumePathNameW
            NeedCurrentDirectoryForExePathA NeedCurrentDirectoryForExePathW QueryDosDeviceA QueryDosDeviceW ReOpenFile ReadDirectoryChangesW
            ScrollConsoleScreenBufferA ScrollConsoleScreenBufferW SetConsoleActiveScreenBuffer SetConsoleCursorInfo
            SetFileInformationByHandle WriteConsoleInputA WriteConsoleInputW WriteConsoleOutputA WriteConsoleOutputW
        """,
    },
    "ntdll_files": {
        "ntdll.dll": """
            NtCancelIoFile NtCancelIoFileEx NtCreateFile NtCreateNamedPipeFile NtDeviceIoControlFile NtFlushBuffersFile NtFsControlFile
            NtOpenFile NtQueryAttributesFile NtQueryDirectoryFile NtQueryFullAttributesFile NtQueryInformationFile NtQuerySystemInformation
            NtQueryVolumeInformationFile NtReadFile NtSetInformationFile NtWaitForSingleObject NtWriteFile RtlAddGrowableFunctionTable
            RtlDeleteGrowableFunctionTable RtlGetCurrentPeb RtlGetLastNtStatus RtlGrowFunctionTable ZwCreateFile ZwOpenFile
            ZwQueryDirectoryFile ZwQueryInformationFile ZwQuerySystemInformation ZwQueryVolumeInformationFile ZwReadFile
            ZwSetInformationFile ZwWaitForSingleObject ZwWriteFile
        """,
    },
    "crt_math": {
        "msvcrt.dll": _MATH,
        "ucrtbase.dll": _MATH,
    },
    "crt_more": {
        "msvcrt.dll": _MORE,
        "ucrtbase.dll": _MORE,
        "vcruntime140.dll": """
            __current_exception __current_exception_context __processing_throw
        """,
    },
    "crt_locale": {
        "msvcrt.dll": _LOCALE,
        "ucrtbase.dll": _LOCALE,
        "vcruntime140.dll": """
            __AdjustPointer __uncaught_exceptions
        """,
    },
    "kernel32_pool": {
        "kernel32.dll": """
            CloseThreadpoolTimer CloseThreadpoolWait CreateThreadpoolTimer CreateThreadpoolWait SetThreadpoolTimer SetThreadpoolTimerEx
            SetThreadpoolWait SetThreadpoolWaitEx WaitForThreadpoolTimerCallbacks WaitForThreadpoolWaitCallbacks
        """,
    },
    "kernel32_pathcch": {
        "kernel32.dll": """
            PathAllocCanonicalize PathAllocCombine PathCchAppend PathCchAppendEx PathCchCanonicalize PathCchCanonicalizeEx PathCchCombine
            PathCchCombineEx PathCchRemoveFileSpec
        """,
    },
}
# fmt: on
