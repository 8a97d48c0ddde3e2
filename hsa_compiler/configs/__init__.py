"""The store of tuned configs: read, checked, merged, and looked up tier by tier."""

from hsa_compiler.configs.device import device_record, versions
from hsa_compiler.configs.forms import FormTimes
from hsa_compiler.configs.lookup import (
    Choice,
    ConfigStore,
    Winner,
    choose,
    default_store,
    set_default_store,
)
from hsa_compiler.configs.schema import (
    SCHEMA_VERSION,
    DeviceRecord,
    Entry,
    Gain,
    KernelConfig,
    LocalityRecord,
    OtherL2,
    Provenance,
    ScheduleTime,
    Timing,
)
from hsa_compiler.configs.shapes import ShapeClass, data_dtype
from hsa_compiler.configs.store import (
    load_config,
    merge_entries,
    packaged_folder,
    user_folder,
)

__all__ = [
    "SCHEMA_VERSION",
    "Choice",
    "ConfigStore",
    "DeviceRecord",
    "Entry",
    "FormTimes",
    "Gain",
    "KernelConfig",
    "LocalityRecord",
    "OtherL2",
    "Provenance",
    "ScheduleTime",
    "ShapeClass",
    "Timing",
    "Winner",
    "choose",
    "data_dtype",
    "default_store",
    "device_record",
    "load_config",
    "merge_entries",
    "packaged_folder",
    "set_default_store",
    "user_folder",
    "versions",
]
