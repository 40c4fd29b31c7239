//! What the coordinator decides, without a clock or IO
