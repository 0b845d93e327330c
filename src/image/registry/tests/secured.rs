//! secured
