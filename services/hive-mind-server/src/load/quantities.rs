//! Numbers as people read them.

/// 1234567 as "1,234,567".
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `number` units of 10^-`decimals`: -12345 with 2 decimals is "-123.45".
pub(crate) fn decimal(number: i128, decimals: u32) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let digits = usize::try_from(decimals).unwrap_or(0);
    let text = format!("{:0>width$}", number.unsigned_abs(), width = digits + 1);
    let (whole, fraction) = text.split_at(text.len() - digits);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// `number` with this many decimal digits, for documents that people read, too.
pub(crate) fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

/// REJECT_REASON_ORDER_CLOSED as "order closed".
pub(crate) fn plain_reason(name: &str) -> String {
    name.trim_start_matches("REJECT_REASON_").to_lowercase().replace('_', " ")
}
