//! Builds one metric: its name, its meaning, and a value for each set of labels.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::dispatch;

/// A metric under construction.
pub(super) struct Family {
    kind: MetricType,
    name: String,
    help: String,
    metrics: Vec<Metric>,
}

impl Family {
    /// Start a metric whose values only grow while the service runs.
    pub(super) fn counter(name: &str, help: &str) -> Self {
        Self::new(MetricType::COUNTER, name, help)
    }

    /// Start a metric whose values rise and fall.
    pub(super) fn gauge(name: &str, help: &str) -> Self {
        Self::new(MetricType::GAUGE, name, help)
    }

    /// Start a metric of times, in seconds.
    pub(super) fn histogram(name: &str, help: &str) -> Self {
        Self::new(MetricType::HISTOGRAM, name, help)
    }

    fn new(kind: MetricType, name: &str, help: &str) -> Self {
        Self {
            kind,
            name: format!("stt_isolated_{name}"),
            help: help.into(),
            metrics: Vec::new(),
        }
    }

    /// Add the value for these labels (pairs of name and value).
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut metric = Metric::from_label(pairs(labels));
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    /// Add the times for these labels.
    pub(super) fn add_times(&mut self, labels: &[(&str, &str)], times: &dispatch::Histogram) {
        let bucket = |(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_sample_count(times.count());
        histogram.set_sample_sum(times.sum());
        histogram.set_bucket(times.buckets().map(bucket).collect());
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    /// Finish the metric; `None` if it has no value.
    pub(super) fn finish(self) -> Option<MetricFamily> {
        if self.metrics.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.name);
        family.set_help(self.help);
        family.set_field_type(self.kind);
        family.set_metric(self.metrics);
        Some(family)
    }
}

fn pairs(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    };
    labels.iter().map(pair).collect()
}
