//! How the ABI grows without a new version.
//!
//! A new field in a type of version 1 would make the host reject every plugin built before it. An ability that version
//! 1 does not have is therefore an extension: a type of its own, requested by name and version, whose layout is
//! checked on request. A side that does not know the extension returns none, and the other works without it.

#![allow(unsafe_code, reason = "a checked downcast across the boundary")]

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::pointer_trait::TransmuteElement;
use abi_stable::std_types::RBox;
use abi_stable::type_layout::TypeLayout;
use std::sync::{PoisonError, RwLock};

/// A value whose type is known only to the two sides that use the extension, with the layout that it was created with.
#[repr(C)]
#[derive(StableAbi)]
pub struct RawExtension {
    layout: &'static TypeLayout,
    value: RBox<()>,
}

// SAFETY: `new` takes only values that are Send and Sync, and nothing else makes one.
unsafe impl Send for RawExtension {}
// SAFETY: as above.
unsafe impl Sync for RawExtension {}

impl RawExtension {
    /// Wraps `value`, usually an object type made by `#[sabi_trait]`.
    pub fn new<E: StableAbi + Send + Sync + 'static>(value: E) -> Self {
        // SAFETY: nothing accesses the value as `()`; `downcast` undoes this, and the box knows how to drop it.
        let value = unsafe { RBox::new(value).transmute_element::<()>() };
        Self { layout: E::LAYOUT, value }
    }

    /// The value, if its layout is that of `E` on this side.
    ///
    /// # Errors
    /// One line that says how the layouts differ.
    pub fn downcast<E: StableAbi + Send + Sync + 'static>(self) -> Result<E, String> {
        check(E::LAYOUT, self.layout)?;
        // SAFETY: the layouts are the same, and `new` put a value of that layout in.
        Ok(RBox::into_inner(unsafe { self.value.transmute_element::<E>() }))
    }
}

/// Pairs of layouts that were found to be the same: a comparison costs more than most that is done with the value.
static COMPARED: RwLock<Vec<(usize, usize)>> = RwLock::new(Vec::new());

fn check(own: &'static TypeLayout, other: &'static TypeLayout) -> Result<(), String> {
    let address = |layout| std::ptr::from_ref::<TypeLayout>(layout).addr();
    let pair = (address(own), address(other));
    if COMPARED.read().unwrap_or_else(PoisonError::into_inner).contains(&pair) {
        return Ok(());
    }
    check_layout_compatibility(own, other).map_err(|error| first_line(&error.to_string()))?;
    // Layouts are static, and libraries are never unloaded: an address stays what it is.
    COMPARED.write().unwrap_or_else(PoisonError::into_inner).push(pair);
    Ok(())
}

fn first_line(error: &str) -> String {
    let line = error.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no detail");
    format!("the extension has another layout: {line}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi_stable::std_types::RString;

    #[test]
    fn a_value_comes_back_only_as_what_it_is() {
        let text = || RawExtension::new(RString::from("here"));
        assert_eq!(text().downcast::<RString>().unwrap(), "here");
        assert!(text().downcast::<u64>().unwrap_err().starts_with("the extension has another layout"));
    }
}
