//! The same answers, read by skopeo and by tagship.
