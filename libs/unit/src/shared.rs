//! Settings that most units leave as they are: one copy for all of those.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// A value that is copied when it is first changed.
#[derive(Debug, Clone, Eq)]
pub struct Shared<T>(Rc<T>);

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Shared<T>) -> bool {
        Rc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

/// A type of which a thread has some values once.
pub trait Common: Sized + PartialEq + 'static {
    /// The default value.
    fn common() -> Rc<Self>;

    /// The values that were settled last.
    fn recent(look: impl FnOnce(&mut Vec<Rc<Self>>));
}

/// How many values are compared with.
const RECENT: usize = 8;

impl<T: Common> Shared<T> {
    /// It will not change any more: from now on it shares the memory of a recent one that is equal.
    pub fn settle(&mut self) {
        T::recent(|recent| match recent.iter().find(|other| ***other == *self.0) {
            Some(other) => self.0 = other.clone(),
            None => {
                recent.truncate(RECENT - 1);
                recent.insert(0, self.0.clone());
            }
        });
    }
}

impl<T: Common> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared(T::common())
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Shared<T> {
        Shared(Rc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Rc::make_mut(&mut self.0)
    }
}

/// Says that the default of a type is there once.
macro_rules! common_default {
    ($type:ty) => {
        impl $crate::shared::Common for $type {
            fn common() -> std::rc::Rc<Self> {
                thread_local!(static DEFAULT: std::rc::Rc<$type> = std::rc::Rc::default());
                DEFAULT.with(std::rc::Rc::clone)
            }

            fn recent(look: impl FnOnce(&mut Vec<std::rc::Rc<Self>>)) {
                thread_local!(static RECENT: std::cell::RefCell<Vec<std::rc::Rc<$type>>> =
                    std::cell::RefCell::default());
                RECENT.with(|recent| {
                    if let Ok(mut recent) = recent.try_borrow_mut() {
                        look(&mut recent);
                    }
                });
            }
        }
    };
}
pub(crate) use common_default;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Resources;

    #[test]
    fn a_value_is_there_once_until_it_is_changed() {
        let (one, mut other) = (Shared::<Resources>::default(), Shared::<Resources>::default());
        assert!(std::ptr::eq(&*one, &*other));
        other.delegate = true;
        assert!(!one.delegate && other.delegate && !std::ptr::eq(&*one, &*other));
    }

    #[test]
    fn values_that_are_equal_are_there_once_when_they_are_settled() {
        let settled = |share| {
            let mut value = Shared::from(Resources { cpu_weight: Some(share), ..Resources::default() });
            value.settle();
            value
        };
        let (one, other, mut third) = (settled(7), settled(8), settled(7));
        assert!(std::ptr::eq(&*one, &*third) && !std::ptr::eq(&*one, &*other));
        third.cpu_weight = Some(9);
        assert_eq!(one.cpu_weight, Some(7));
        (10..40).for_each(|share| drop(settled(share)));
        assert!(!std::ptr::eq(&*one, &*settled(7)), "only a few are compared with");
    }
}
