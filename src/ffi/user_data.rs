//! What a host gives for its callbacks, and how it is freed.

use std::ffi::c_void;

use crate::ffi::subscribe::midge_free_fn;

/// What the host gave for its callbacks; freed when this is dropped.
pub(super) struct UserData {
    pointer: *mut c_void,
    free: midge_free_fn,
}

// SAFETY: the header says on which threads callbacks run; the host gives what may go there.
unsafe impl Send for UserData {}
// SAFETY: as above; of callbacks that run on several threads at once, the header says so.
unsafe impl Sync for UserData {}

impl UserData {
    pub(super) fn new(pointer: *mut c_void, free: midge_free_fn) -> UserData {
        UserData { pointer, free }
    }

    /// The pointer; a method, so that a closure holds the whole and not only this field.
    pub(super) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: the host's function for the host's pointer, called once, as a drop happens once.
            unsafe { free(self.pointer) };
        }
    }
}
