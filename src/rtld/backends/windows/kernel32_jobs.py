"""KERNEL32.dll: jobs, processors, what a new process is given, error reports, stacks: one process on one processor."""

from __future__ import annotations

import struct

from rtld.backends.windows.api import Exited
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.kernel32_processes import enum_process_modules
from rtld.backends.windows.kernel32_threads import thread_of
from rtld.backends.windows.system import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

# -- jobs -----------------------------------------------------------------------------------------


@KERNEL32.both("CreateJobObject", "pt", "p")
def create_job_object(system: System, _wide: bool, _sa: int, _name: str) -> int:
    return system.add(Handle("job"))


@KERNEL32("AssignProcessToJobObject", "pp")
@KERNEL32("TerminateJobObject", "pu")
def assign_process_to_job_object(system: System, job: int, _process: int) -> int:
    return int(system.handle(job, "job") is not None)


@KERNEL32("SetInformationJobObject", "pupu")
def set_information_job_object(system: System, job: int, *_: int) -> int:
    return int(system.handle(job, "job") is not None)


@KERNEL32("QueryInformationJobObject", "pupup")
def query_information_job_object(system: System, job: int, kind: int, out: int, room: int, size: int) -> int:  # fmt: skip
    """Accounting and limits: nothing, no limits. This process is in no job (job 0)."""
    if job and system.handle(job, "job") is None:
        return 0
    word = system.word
    sizes = {1: 48, 2: 16 + 4 * 8 if word == 4 else 64, 8: 96, 9: 112 if word == 4 else 144, 15: 8}
    if kind not in sizes or not job:
        return system.fail(87 if job else 6)
    if room < sizes[kind]:
        return system.fail(24)
    system.memory.write(out, bytes(sizes[kind]))
    if size:
        system.put(size, sizes[kind], 4)
    return 1


@KERNEL32("IsProcessInJob", "ppp")
def is_process_in_job(system: System, _process: int, _job: int, out: int) -> int:
    system.put(out, 0, 4)
    return 1


# -- processors: there is one ---------------------------------------------------------------------


@KERNEL32("GetActiveProcessorCount GetMaximumProcessorCount", "u")
def get_active_processor_count(_system: System, _group: int) -> int:
    return 1


@KERNEL32("GetActiveProcessorGroupCount GetMaximumProcessorGroupCount")
def get_active_processor_group_count(_system: System) -> int:
    return 1


@KERNEL32("GetCurrentProcessorNumber")
def get_current_processor_number(_system: System) -> int:
    return 0


@KERNEL32("GetCurrentProcessorNumberEx", "p", "v")
def get_current_processor_number_ex(system: System, out: int) -> None:
    system.put(out, 0, 4)


@KERNEL32("GetNumaHighestNodeNumber", "p")
def get_numa_highest_node_number(system: System, out: int) -> int:
    system.put(out, 0, 4)
    return 1


@KERNEL32("GetLogicalProcessorInformation", "pp")
def get_logical_processor_information(system: System, out: int, size: int) -> int:
    """SYSTEM_LOGICAL_PROCESSOR_INFORMATION of a core, a package and a node of memory."""
    word = "Q" if system.bits == 64 else "I"
    rows = [struct.pack(f"<{word}I{'4x' if system.bits == 64 else ''}16s", 1, kind, b"\0") for kind in (0, 3, 1)]  # fmt: skip
    return _information(system, out, size, b"".join(rows))


@KERNEL32("GetLogicalProcessorInformationEx", "upp")
def get_logical_processor_information_ex(system: System, wanted: int, out: int, size: int) -> int:
    """SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX; RelationAll is 0xFFFF."""
    word, pad = ("Q", 6) if system.bits == 64 else ("I", 6)
    affinity = struct.pack(f"<{word}H{pad}x", 1, 0)
    core = struct.pack("<BB20xH", 0, 0, 1) + affinity
    node = struct.pack("<I18xH", 0, 1) + affinity
    group = struct.pack("<HH20x", 1, 1) + struct.pack(f"<BB38x{word}", 1, 1, 1)
    rows = [(0, core), (3, core), (1, node), (4, group)]
    data = b"".join(struct.pack("<II", kind, len(row) + 8) + row for kind, row in rows if wanted in (kind, 0xFFFF))  # fmt: skip
    return _information(system, out, size, data) if data else system.fail(87)


def _information(system: System, out: int, size: int, data: bytes) -> int:
    room = system.number(size, 4)
    system.put(size, len(data), 4)
    if room < len(data):
        return system.fail(122)
    system.memory.write(out, data)
    return 1


@KERNEL32("GetProcessGroupAffinity", "ppp")
def get_process_group_affinity(system: System, _process: int, count: int, out: int) -> int:
    room = system.number(count, 2)
    system.put(count, 1, 2)
    if not room:
        return system.fail(122)
    system.put(out, 0, 2)
    return 1


@KERNEL32("SetThreadGroupAffinity", "ppp")
@KERNEL32("GetThreadGroupAffinity", "pp")
def set_thread_group_affinity(system: System, thread: int, place: int, before: int = 0) -> int:
    if thread_of(system, thread) is None:
        return 0
    for out in (before, place if not before else 0):
        if out:
            system.put(out, 1)
    return 1


@KERNEL32("SetThreadInformation GetThreadInformation", "pupu")
@KERNEL32("SetProcessInformation GetProcessInformation", "pupu")
def set_thread_information(_system: System, *_: int) -> int:
    return 1


@KERNEL32("FlushProcessWriteBuffers", "", "v")
def flush_process_write_buffers(_system: System) -> None:
    return


# -- what a new process is given: attributes that are kept, and not looked at ----------------------


@KERNEL32("InitializeProcThreadAttributeList", "puup")
def initialize_proc_thread_attribute_list(system: System, out: int, count: int, _flags: int, size: int) -> int:  # fmt: skip
    wanted = 3 * system.word + min(count, 1 << 10) * 3 * system.word
    room = system.number(size)
    system.put(size, wanted)
    if not out or room < wanted:
        return system.fail(122)
    system.memory.write(out, bytes(wanted))
    return 1


@KERNEL32("UpdateProcThreadAttribute", "puppppp")
def update_proc_thread_attribute(_system: System, *_: int) -> int:
    return 1


@KERNEL32("DeleteProcThreadAttributeList", "p", "v")
def delete_proc_thread_attribute_list(_system: System, _list: int) -> None:
    return


@KERNEL32("FlsGetValue2", "u", "p")
def fls_get_value2(system: System, index: int) -> int:
    """As FlsGetValue, and the last error stays."""
    error = system.last_error
    value = int(KERNEL32.find("FlsGetValue").action(system, index))
    system.last_error = error
    return value


# -- errors and stacks ----------------------------------------------------------------------------


@KERNEL32("WerSetFlags", "u", "i")
def wer_set_flags(system: System, flags: int) -> int:
    system.cache["error reports"] = flags
    return 0


@KERNEL32("WerGetFlags", "pp", "i")
def wer_get_flags(system: System, _process: int, out: int) -> int:
    system.put(out, int(system.cache.get("error reports", 0)), 4)
    return 0


@KERNEL32("RaiseFailFastException", "ppu", "v")
def raise_fail_fast_exception(system: System, record: int, _context: int, _flags: int) -> None:
    raise Exited(system.number(record, 4) if record else 0xC0000602)


@KERNEL32("SetThreadStackGuarantee", "p")
def set_thread_stack_guarantee(system: System, size: int) -> int:
    """The last pages of a stack suffice for whoever handles its overflow."""
    crt = system.threads.current.crt
    wanted = system.number(size, 4)
    system.put(size, int(crt.get("guarantee", 0)), 4)
    if wanted:
        crt["guarantee"] = wanted
    return 1


@KERNEL32("GetCurrentThreadStackLimits", "pp", "v")
def get_current_thread_stack_limits(system: System, low: int, high: int) -> None:
    teb = int(system.threads.teb)
    system.put(low, system.number(teb + (0x1478 if system.bits == 64 else 0xE0C)))
    system.put(high, system.number(teb + system.word))


@KERNEL32("FreeLibraryWhenCallbackReturns", "pp", "v")
def free_library_when_callback_returns(_system: System, _instance: int, _module: int) -> None:
    return


@KERNEL32("K32GetModuleBaseNameA", "pppu")
def get_module_base_name_a(system: System, _process: int, module: int, out: int, room: int) -> int:
    return system.put_string(False, out, room, system.loader.file_name(module).rpartition("\\")[2])


@KERNEL32("K32GetModuleBaseNameW", "pppu")
def get_module_base_name_w(system: System, _process: int, module: int, out: int, room: int) -> int:
    return system.put_string(True, out, room, system.loader.file_name(module).rpartition("\\")[2])


@KERNEL32("K32EnumProcessModulesEx", "ppupu")
def enum_process_modules_ex(system: System, process: int, out: int, room: int, needed: int, _which: int) -> int:  # fmt: skip
    return int(enum_process_modules(system, process, out, room, needed))


# -- where DLLs are looked for ---------------------------------------------------------------------
