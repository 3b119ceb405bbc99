//! Data of every shape, for tests.

use proptest::prelude::*;
use serde_json::{Number, Value};

use super::Data;

/// Any data, with what stores have notations of their own for: dots, dollars, percent signs, numbers of every kind.
pub(crate) fn arbitrary() -> impl Strategy<Value = Data> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        any::<f64>().prop_map(|float| Number::from_f64(float).map_or(Value::Null, Value::Number)),
        "[$.%a]{0,3}|.{0,12}".prop_map(Value::from),
    ];
    let value = scalar.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[$.%a2E4]{0,4}|[^\0]{0,8}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    value.prop_map(|value| Data::parse(&value.to_string()).expect("it holds nothing that is refused"))
}

/// Objects with few different names, so that two of them have some in common.
pub(crate) fn alike() -> impl Strategy<Value = Data> {
    let scalar = prop_oneof![Just(Value::Null), (0_i64..3).prop_map(Value::from), Just(Value::from("x"))];
    let value = scalar.prop_recursive(3, 30, 6, |inner| {
        prop::collection::vec(("[a-f]", inner), 0..6)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    });
    value.prop_map(|value| Data::parse(&value.to_string()).expect("it holds nothing that is refused"))
}
