"""What this machine is, and what it could do at best.

    dtypes        the arithmetic formats and their names
    textfile      small files of the kernel and what programs print, or nothing
    affinity      the processors this process may use, and which of them are fast
    pci           graphics devices by PCI vendor id, from sysfs
    peaks         spec peaks by device name, from peaks.toml (dense, with source and date)
    cgroup        limits that a container sets: CPU quota, memory
    memory        memory of the machine within those limits
    cpu           how many cores are usable, and the peak that follows
    cpu_identity  who the CPU is
    cpu_isa       FLOPs per cycle and core, by microarchitecture and dtype
    cpu_clock     the clock: reported, maximum, and measured
    devices       one interface to cpu, cuda (ROCm too), xpu and mps; parsing a device's name
    device_*      the backends behind it; device_gpu has what the GPUs share
    fingerprint   a stable id of the hardware, for keeping results of one machine together
    provenance    software and settings that stand beside every result

Nothing is imported here, so that the parts without torch stay usable without it.
"""
