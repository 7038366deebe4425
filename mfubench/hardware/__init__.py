"""What this machine is, and what it could do at best.

    dtypes        the arithmetic formats and their names
    pci           graphics devices by PCI vendor id, from sysfs
    peaks         spec peaks by device name, from peaks.toml (dense, with source and date)
    cgroup        limits that a container sets: CPU quota, memory
    memory        memory of the machine within those limits
    cpu           who the CPU is, how many of its cores are usable, its derived peak
    cpu_isa       FLOPs per cycle and core, by microarchitecture and dtype
    cpu_clock     the clock: reported, maximum, and measured
    devices       one protocol over cpu, cuda (ROCm too), xpu and mps; parsing a device's name
    device_*      the backends behind it
    fingerprint   a stable id of the hardware, for keeping results of one machine together
    provenance    software and settings that stand beside every result

Nothing is imported here, so that the parts without torch stay usable without it.
"""
