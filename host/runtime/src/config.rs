//! The one wasmtime configuration that code is both compiled and run with.
//!
//! An artefact is only accepted by an engine whose settings are those that it was compiled with,
//! so the compiling child and the host take theirs from here. What differs between the two is the
//! allocator alone, which is no part of the artefact.

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Bytes of a linear memory's address space that a slot of the pool holds back.
///
/// 4 GiB and a guard behind it let the compiler leave out every bounds check of 32-bit memories.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;

/// Elements of a table in the pool. Big guests (.NET, Python) have tens of thousands; a slot costs
/// address space only.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Bytes at the start of a memory that are put back in place when its slot is used again, where the
/// kernel can tell which pages were written. *Source:* `host-facts.md`, In-process limits.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;

/// Bytes at the start of a table that are zeroed in place when its slot is used again: giving the
/// pages back to the kernel instead interrupts every other core.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// Slots that may keep the pages of a component that no longer runs.
const WARM_SLOTS_MAX: u32 = 64;

/// Core modules, memories and tables that one component may bring.
const PARTS_PER_COMPONENT_MAX: u32 = 64;

/// Gives the settings that end up in compiled code.
pub(crate) fn compile() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_init_cow(true);
    config
}

/// Turns settings into those of an engine for WASI 0.3, whose guests may have several calls on the
/// way at once. They end up in compiled code as well.
#[cfg(feature = "wasi-p3")]
pub(crate) fn concurrent(mut config: Config) -> Config {
    config.concurrency_support(true);
    config
}

/// Gives the settings of an engine whose instances live in a pool of `instances` slots.
pub(crate) fn pooled(instances: u32) -> Config {
    let scan = PoolingAllocationConfig::is_pagemap_scan_available();
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(4))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(2))
        .total_stacks(instances)
        .max_core_instances_per_component(PARTS_PER_COMPONENT_MAX)
        .max_memories_per_component(PARTS_PER_COMPONENT_MAX)
        .max_tables_per_component(PARTS_PER_COMPONENT_MAX)
        .max_memories_per_module(PARTS_PER_COMPONENT_MAX)
        .max_tables_per_module(PARTS_PER_COMPONENT_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        .max_unused_warm_slots(WARM_SLOTS_MAX);
    if scan {
        pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(KEEP_RESIDENT_BYTES);
    }
    let mut config = compile();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Gives the settings of an engine that maps memory for each instance anew.
pub(crate) fn on_demand() -> Config {
    compile()
}
