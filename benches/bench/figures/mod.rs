//! The figures, one file for each load.

pub mod added;
pub mod azure_leaks;
pub mod cold_start;
pub mod floor;
pub mod kills;
pub mod leaks;
pub mod live;
pub mod memory;
pub mod model_memory;
pub mod naive;
pub mod neighbours;
pub mod real;
pub mod stages;
pub mod syscalls;
pub mod throughput;
pub mod uploads;
pub mod virtual_machine;
