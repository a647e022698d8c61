//! What C hands over, checked: pointers, texts, numbers, structs that grow.

use std::ffi::{CStr, CString, c_char, c_void};
use std::time::Duration;

use crate::codec::qos::QoS;
use crate::ffi::guard::Failure;
use crate::ffi::status::{MIDGE_STATUS_OK, MIDGE_STATUS_TOPIC, midge_status};
use crate::ffi::views::midge_bytes;

/// No struct of Midge will ever be larger: a larger `struct_size` was not initialised.
const LARGEST_STRUCT: usize = 4096;

/// The thing behind a pointer.
///
/// # Safety
/// `pointer` is NULL, or points to a live value that nobody changes meanwhile.
pub(super) unsafe fn given<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    // SAFETY: the caller's.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::argument(name, "is NULL"))
}

/// The thing behind a pointer, to be changed.
///
/// # Safety
/// `pointer` is NULL, or points to a live value that nobody else uses meanwhile.
pub(super) unsafe fn given_mut<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller's.
    unsafe { pointer.as_mut() }.ok_or_else(|| Failure::argument(name, "is NULL"))
}

/// A place that the caller provides for an output.
pub(super) struct Slot<T>(*mut T);

impl<T> Slot<T> {
    /// Writes the output.
    ///
    /// # Safety
    /// The place may be written to.
    pub(super) unsafe fn put(self, value: T) -> midge_status {
        // SAFETY: the caller's.
        unsafe { self.0.write(value) };
        MIDGE_STATUS_OK
    }
}

impl<T> Slot<*mut T> {
    /// Writes a handle to `value`.
    ///
    /// # Safety
    /// The place may be written to.
    pub(super) unsafe fn put_handle(self, value: T) -> midge_status {
        // SAFETY: the caller's.
        unsafe { self.put(Box::into_raw(Box::new(value))) }
    }
}

/// The place for an output, which must be there.
pub(super) fn slot<T>(out: *mut T, name: &str) -> Result<Slot<T>, Failure> {
    if out.is_null() { Err(Failure::argument(name, "is NULL")) } else { Ok(Slot(out)) }
}

/// Frees what [`Slot::put_handle`] gave out. NULL is taken.
///
/// # Safety
/// `handle` is NULL, or came from `Box::into_raw` and is not used any more.
pub(super) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: the caller's.
        drop(unsafe { Box::from_raw(handle) });
    }
}

/// A NUL-ended UTF-8 text.
///
/// # Safety
/// `text` is NULL, or ends with NUL and lives as long as the result.
pub(super) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::argument(name, "is NULL"));
    }
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| Failure::argument(name, "is not UTF-8"))
}

/// A topic name or filter.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn topic<'a>(topic: *const c_char, name: &str) -> Result<&'a str, Failure> {
    // SAFETY: the caller's.
    unsafe { text(topic, name) }.map_err(|failure| {
        if topic.is_null() { failure } else { Failure { status: MIDGE_STATUS_TOPIC, ..failure } }
    })
}

/// A text that may be absent.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn optional<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>, Failure> {
    // SAFETY: the caller's.
    if pointer.is_null() { Ok(None) } else { unsafe { text(pointer, name) }.map(Some) }
}

/// A pointer and a length; NULL only with length 0.
///
/// # Safety
/// `data` is NULL, or points to `len` values that live as long as the result.
pub(super) unsafe fn slice<'a, T>(data: *const T, len: usize, name: &str) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Failure::argument(name, "is NULL, but its length is not 0"));
    }
    if len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::argument(name, "is longer than memory can be"));
    }
    // SAFETY: the caller's; the length was checked.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// As [`slice`], for bytes.
///
/// # Safety
/// As for [`slice`].
pub(super) unsafe fn bytes<'a>(data: *const c_void, len: usize, name: &str) -> Result<&'a [u8], Failure> {
    // SAFETY: the caller's.
    unsafe { slice(data.cast(), len, name) }
}

pub(super) fn qos(number: i32) -> Result<QoS, Failure> {
    u8::try_from(number)
        .ok()
        .and_then(QoS::from_u8)
        .ok_or_else(|| Failure::argument("qos", &format!("{number} is not 0, 1 or 2")))
}

pub(super) fn flag(number: i32, name: &str) -> Result<bool, Failure> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Failure::argument(name, &format!("{number} is neither 0 nor 1"))),
    }
}

/// The failure for an index that is too large.
pub(super) fn beyond() -> Failure {
    Failure::argument("index", "is beyond the last")
}

/// Milliseconds; less than 0 is no duration.
pub(super) fn milliseconds(number: i32) -> Option<Duration> {
    u64::try_from(number).ok().map(Duration::from_millis)
}

/// A text for C. An inner NUL cannot be, where Midge wrote the text.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// A struct of plain data that begins with its size, and that later versions make longer at its end.
///
/// # Safety
/// The type is `repr(C)`, its first field is `struct_size: usize`, and any bytes are a value of it.
pub(super) unsafe trait Growing: Copy {
    /// The values of the fields that a caller's older header does not have.
    const DEFAULT: Self;
}

/// Reads options of the caller, by the size that they say they have; NULL is the defaults.
///
/// # Safety
/// `options` is NULL, or points to as many bytes as its first field says.
pub(super) unsafe fn options<T: Growing>(options: *const T) -> Result<T, Failure> {
    let mut read = T::DEFAULT;
    if options.is_null() {
        return Ok(read);
    }
    // SAFETY: the caller's; every growing struct begins with its size.
    let size = unsafe { struct_size(options) }?;
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes are there on both sides, and any bytes are a value of `T`.
    unsafe { std::ptr::copy_nonoverlapping(options.cast::<u8>(), (&raw mut read).cast::<u8>(), known) };
    // SAFETY: the caller's: `size` bytes are there.
    let tail = unsafe { std::slice::from_raw_parts(options.cast::<u8>().add(known), size - known) };
    if tail.iter().any(|byte| *byte != 0) {
        let cause = "uses a field that this version of Midge does not have";
        return Err(Failure::argument("options", cause));
    }
    Ok(read)
}

/// One field of options of the caller; `None` if there are no options, or they are too short for it.
///
/// # Safety
/// As for [`options`]; the field at `offset` is an `F`.
pub(super) unsafe fn field<T: Growing, F: Copy>(options: *const T, offset: usize) -> Option<F> {
    if options.is_null() {
        return None;
    }
    // SAFETY: the caller's; every growing struct begins with its size.
    let size = unsafe { struct_size(options) }.ok()?;
    // SAFETY: as many bytes are there as the size says, and the field is one of them.
    (offset + size_of::<F>() <= size).then(|| unsafe { options.byte_add(offset).cast::<F>().read() })
}

/// Writes a view to the caller, as far as the caller's struct goes. Its size stays what it is.
///
/// # Safety
/// `out` is NULL, or points to as many writable bytes as its first field says.
pub(super) unsafe fn fill<T: Growing>(out: *mut T, view: &T) -> Result<midge_status, Failure> {
    let out = slot(out, "out")?.0;
    // SAFETY: the caller's.
    let size = unsafe { struct_size(out) }?;
    let head = size_of::<usize>();
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes are there on both sides; the bytes after them are the caller's, too, and no field of ours.
    unsafe {
        let from = std::ptr::from_ref(view).cast::<u8>();
        std::ptr::copy_nonoverlapping(from.add(head), out.cast::<u8>().add(head), known - head);
        out.cast::<u8>().add(known).write_bytes(0, size - known);
    }
    Ok(MIDGE_STATUS_OK)
}

/// The size that a struct of the caller says it has.
///
/// # Safety
/// `pointer` points to at least a `usize`.
unsafe fn struct_size<T: Growing>(pointer: *const T) -> Result<usize, Failure> {
    // SAFETY: the caller's.
    let size = unsafe { pointer.cast::<usize>().read() };
    if !(size_of::<usize>()..=LARGEST_STRUCT).contains(&size) || !size.is_multiple_of(size_of::<usize>()) {
        let cause = format!("{size} is not the size of this struct; use its INIT macro");
        return Err(Failure::argument("struct_size", &cause));
    }
    Ok(size)
}

/// Borrowed bytes for C.
pub(super) fn borrowed(bytes: &[u8]) -> midge_bytes {
    midge_bytes { data: bytes.as_ptr().cast(), len: bytes.len() }
}

/// Borrowed bytes for C; NULL if there are none.
pub(super) fn borrowed_or_null(bytes: Option<&[u8]>) -> midge_bytes {
    bytes.map_or(midge_bytes::NONE, borrowed)
}

#[cfg(test)]
mod tests {
    use super::{Growing, fill, flag, milliseconds, options, qos};

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Example {
        struct_size: usize,
        first: i64,
        second: i64,
    }

    // SAFETY: plain integers of one size, the first of them the size.
    unsafe impl Growing for Example {
        const DEFAULT: Example = Example { struct_size: 24, first: 5, second: 7 };
    }

    fn read(words: &[usize]) -> Option<(i64, i64)> {
        // SAFETY: each test gives as many words as the first of them says, or a size that is refused.
        unsafe { options(words.as_ptr().cast::<Example>()) }.ok().map(|read| (read.first, read.second))
    }

    #[test]
    fn missing_fields_are_defaults_and_unknown_ones_must_be_zero() {
        assert_eq!(read(&[8]), Some((5, 7)));
        assert_eq!(read(&[16, 1]), Some((1, 7)));
        assert_eq!(read(&[24, 1, 2]), Some((1, 2)));
        assert_eq!(read(&[32, 1, 2, 0]), Some((1, 2)));
        assert_eq!(read(&[32, 1, 2, 3]), None);
        for size in [0, 7, 12, 4104, usize::MAX] {
            assert_eq!(read(&[size, 1, 2, 0]), None, "{size}");
        }
        // As large as any struct will ever be, and a word more, with all the memory that is spoken of.
        let (mut largest, mut beyond) = ([0; 512], [0; 513]);
        largest[..3].copy_from_slice(&[4096, 1, 2]);
        beyond[..3].copy_from_slice(&[4104, 1, 2]);
        assert_eq!((read(&largest), read(&beyond)), (Some((1, 2)), None));
        // SAFETY: NULL is taken.
        assert_eq!(unsafe { options::<Example>(std::ptr::null()) }.unwrap(), Example::DEFAULT);
    }

    #[test]
    fn a_view_is_written_as_far_as_the_caller_s_struct_goes() {
        let view = Example { struct_size: 24, first: -1, second: -1 };
        let mut words = [16usize, 1, 2, 3, 4];
        // SAFETY: the words are more than the first of them says.
        assert!(unsafe { fill(words.as_mut_ptr().cast(), &view) }.is_ok());
        assert_eq!(words, [16, usize::MAX, 2, 3, 4]);
        words[0] = 32;
        // SAFETY: as above.
        assert!(unsafe { fill(words.as_mut_ptr().cast(), &view) }.is_ok());
        assert_eq!(words, [32, usize::MAX, usize::MAX, 0, 4]);
        words[0] = 0;
        // SAFETY: as above; the size is refused.
        assert!(unsafe { fill(words.as_mut_ptr().cast(), &view) }.is_err());
        // SAFETY: NULL is refused.
        assert!(unsafe { fill(std::ptr::null_mut(), &view) }.is_err());
    }

    #[test]
    fn integers_are_checked() {
        assert!(qos(2).is_ok() && qos(3).is_err() && qos(-1).is_err() && qos(256).is_err());
        assert!(flag(1, "retain").unwrap() && !flag(0, "retain").unwrap() && flag(2, "retain").is_err());
        assert!(milliseconds(-1).is_none() && milliseconds(0).is_some());
    }
}
