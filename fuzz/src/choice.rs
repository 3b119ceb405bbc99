//! A choice between ways to make an input.
//!
//! Proptest has one, `prop_oneof!`, which `option::of`, `prop_recursive` and `any::<f64>()` are made with. It keeps the ways that were not taken,
//! to make a failure smaller with them, and hands half of the random numbers that are left to each. Where bytes stand for
//! random numbers, they are used up after a few choices.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::strategy::NewTree;
use proptest::test_runner::TestRunner;

/// One of several strategies, each as often as its weight says.
#[derive(Debug, Clone)]
pub(crate) struct Choice<T: Debug>(Vec<(u32, BoxedStrategy<T>)>);

/// `one_of![3 => this, 1 => that]` or `one_of![this, that]`.
macro_rules! one_of {
    ($($weight:expr => $strategy:expr),+ $(,)?) => {
        $crate::choice::Choice::new(vec![$(($weight, ::proptest::strategy::Strategy::boxed($strategy))),+])
    };
    ($($strategy:expr),+ $(,)?) => { $crate::choice::one_of![$(1 => $strategy),+] };
}
pub(crate) use one_of;

impl<T: Debug> Choice<T> {
    pub(crate) fn new(ways: Vec<(u32, BoxedStrategy<T>)>) -> Self {
        Self(ways)
    }
}

impl<T: Debug> Strategy for Choice<T> {
    type Tree = <BoxedStrategy<T> as Strategy>::Tree;
    type Value = T;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let weights = self.0.iter().map(|(weight, _)| weight);
        // A whole byte for a choice, so that few bytes say much.
        let mut byte = [0];
        runner.rng().fill_bytes(&mut byte);
        let mut number = u32::from(byte[0]) % weights.sum::<u32>();
        for (weight, way) in &self.0 {
            match number.checked_sub(*weight) {
                None => return way.new_tree(runner),
                Some(rest) => number = rest,
            }
        }
        unreachable!("the number is below the sum of the weights")
    }
}

/// Nothing, or something.
pub(crate) fn optional<T: Clone + Debug + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> Choice<Option<T>> {
    one_of![Just(None), strategy.prop_map(Some)]
}

/// What `scalar` makes, or what `grow` makes of the same with a level less.
pub(crate) fn nested<T: Debug + 'static>(
    scalar: BoxedStrategy<T>,
    levels: usize,
    grow: impl Fn(BoxedStrategy<T>) -> BoxedStrategy<T>,
) -> BoxedStrategy<T> {
    (0..levels).fold(scalar.clone(), |inner, _| one_of![scalar.clone(), grow(inner)].boxed())
}
