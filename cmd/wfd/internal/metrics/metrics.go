// Package metrics says how the daemon does, in the form of Prometheus.
//
// Nothing that there is without bound is a label: no run, no node, no name that
// somebody made up, but for the queues, which definitions name, and of which the first
// hundred are told apart. What is counted as it happens is counted without a lock that
// others wait for; what can be read off is read when somebody asks.
package metrics

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

const (
	// readTime bounds what is read when somebody asks.
	readTime = 2 * time.Second
	// maxQueues bounds the queues that are told apart; the rest is "other".
	maxQueues = 100
	maxKinds  = 256 // of events; those of later versions are counted as one
	// maxNamespaces bounds those that are told apart.
	maxNamespaces = 50
)

// Source is what is read when somebody asks.
type Source struct {
	Engine *engine.Engine
	Log    *eventlog.DB
	Views  *projection.Views
	// Traces returns the spans that were sent, how often none were taken, and the events that
	// were passed over, and that are still to be looked at; nil: nothing is traced.
	Traces func() (sent, failed, dropped, behind uint64)
}

// Metrics are those of one daemon.
type Metrics struct {
	kinds    [maxKinds]atomic.Uint64
	appends  prometheus.Histogram
	requests *prometheus.CounterVec
	times    *prometheus.HistogramVec
	registry *prometheus.Registry
	source   atomic.Pointer[Source]
}

// New returns the metrics of a daemon of a version that has not begun.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		appends: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wfd_append_seconds", Help: "How long an append of a run's events took until it was on disk.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wfd_http_requests_total", Help: "Requests that were answered, by operation and status.",
		}, []string{"operation", "status"}),
		times: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wfd_http_request_seconds", Help: "How long requests took; those that wait for something by design too.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"operation"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "wfd_build_info", Help: "Always 1; its version is a label.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.appends, m.requests, m.times, build, m)
	return m
}

// Begin says where the rest is read.
func (m *Metrics) Begin(s Source) { m.source.Store(&s) }

// Appended counts an append; it is for engine.Options.OnAppend.
func (m *Metrics) Appended(records []eventlog.Record, took time.Duration) {
	m.appends.Observe(took.Seconds())
	for i := range records {
		m.kinds[min(records[i].Kind, maxKinds-1)].Add(1)
	}
}

// Answered counts a request.
func (m *Metrics) Answered(operation string, status int, took time.Duration) {
	m.requests.WithLabelValues(operation, strconv.Itoa(status)).Inc()
	m.times.WithLabelValues(operation).Observe(took.Seconds())
}

// Handler answers with the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

var (
	eventsDesc   = prometheus.NewDesc("wfd_events_total", "Events of runs that were appended, by kind.", []string{"kind"}, nil)
	headDesc     = prometheus.NewDesc("wfd_log_head", "The seq of the last event that is on disk.", nil, nil)
	behindDesc   = prometheus.NewDesc("wfd_views_behind_events", "Events of the log that the views have not seen.", nil, nil)
	runsDesc     = prometheus.NewDesc("wfd_runs", "Runs that are stored, by status.", []string{"status"}, nil)
	failedDesc   = prometheus.NewDesc("wfd_failed", "1 once the log has stopped and only a fresh start decides.", nil, nil)
	limitDesc    = prometheus.NewDesc("wfd_queue_limit", "Attempts that a queue does at once.", []string{"queue"}, nil)
	runningDesc  = prometheus.NewDesc("wfd_queue_running", "Attempts under way, here and by workers.", []string{"queue"}, nil)
	readyDesc    = prometheus.NewDesc("wfd_queue_ready", "Attempts that wait for a place.", []string{"queue"}, nil)
	triggersDesc = prometheus.NewDesc("wfd_triggers", "Schedules and hooks, by type (schedule, in, out) and state (active, paused, failing, dead).", []string{"type", "state"}, nil)
	firesDesc    = prometheus.NewDesc("wfd_trigger_fires_total", "What became of times at which schedules were due, and of webhooks, since the start.", []string{"type", "outcome"}, nil)
	overdueDesc  = prometheus.NewDesc("wfd_trigger_overdue_seconds", "For how long the schedule has been due that has been so longest and is not dealt with.", nil, nil)
	startsDesc   = prometheus.NewDesc("wfd_trigger_queued", "Starts of schedules that wait for the end of the run before.", nil, nil)
	sinceDesc    = prometheus.NewDesc("wfd_trigger_failing_seconds", "For how long the hook has failed that has failed longest, and is not dead yet.", nil, nil)
	spaceDesc    = prometheus.NewDesc("wfd_namespace_runs", "Runs that are stored and have not ended, by namespace.", []string{"namespace"}, nil)
	refusedDesc  = prometheus.NewDesc("wfd_trace_failures_total", "Times that the receiver of traces did not take spans, all repeats of one request together.", nil, nil)
	offeredDesc  = prometheus.NewDesc("wfd_queue_offered", "Attempts that wait for a worker.", []string{"queue"}, nil)
	spansDesc    = prometheus.NewDesc("wfd_trace_spans_total", "Spans that were sent.", nil, nil)
	droppedDesc  = prometheus.NewDesc("wfd_trace_dropped_events_total", "Events of which no span was made, since the receiver did not keep up.", nil, nil)
	waitingDesc  = prometheus.NewDesc("wfd_trace_behind_events", "Events of which spans are still to be made.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{eventsDesc, headDesc, behindDesc, runsDesc, failedDesc, limitDesc, runningDesc, readyDesc, offeredDesc, triggersDesc, firesDesc, overdueDesc, startsDesc, sinceDesc, spaceDesc, refusedDesc, spansDesc, droppedDesc, waitingDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for k := range m.kinds {
		if n := m.kinds[k].Load(); n > 0 {
			ch <- prometheus.MustNewConstMetric(eventsDesc, prometheus.CounterValue, float64(n), event.KindName(eventlog.Kind(k)))
		}
	}
	s := m.source.Load()
	if s == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	head, applied := s.Log.Head(), s.Views.Applied()
	gauge(headDesc, float64(head))
	gauge(behindDesc, float64(head-min(applied, head)))
	failed := 0.0
	if s.Engine.Failed() != nil {
		failed = 1
	}
	gauge(failedDesc, failed)
	if s.Traces != nil {
		sent, failed, dropped, behind := s.Traces()
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(failed))
		ch <- prometheus.MustNewConstMetric(spansDesc, prometheus.CounterValue, float64(sent))
		ch <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(dropped))
		gauge(waitingDesc, float64(behind))
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	if all, err := s.Views.AllTotals(ctx); err == nil { // or the views are being built: they are missing, not 0
		totals := map[run.Status]int{}
		live := map[string]int{}
		for i, name := range slices.Sorted(maps.Keys(all)) {
			for status, n := range all[name] {
				totals[status] += n
				if space := name.String(); !status.Terminal() {
					if i >= maxNamespaces {
						space = "other of many" // which no namespace can be called
					}
					live[space] += n
				}
			}
		}
		for space, n := range live {
			gauge(spaceDesc, float64(n), space)
		}
		for status, n := range totals {
			gauge(runsDesc, float64(n), string(status))
		}
	}
	there, fires := s.Engine.TriggerTotals()
	for c, n := range there {
		gauge(triggersDesc, float64(n), c.Type, c.Outcome)
	}
	delays := s.Engine.TriggerDelays()
	gauge(overdueDesc, delays.Overdue.Seconds())
	gauge(sinceDesc, delays.Failing.Seconds())
	gauge(startsDesc, float64(delays.Queued))
	for c, n := range fires {
		ch <- prometheus.MustNewConstMetric(firesDesc, prometheus.CounterValue, float64(n), c.Type, c.Outcome)
	}
	other := engine.Queue{Name: "other"}
	queues := s.Engine.Queues()
	for i, q := range queues {
		if i >= maxQueues {
			other.Limit, other.Running, other.Ready, other.Offered = other.Limit+q.Limit, other.Running+q.Running, other.Ready+q.Ready, other.Offered+q.Offered
		}
	}
	if len(queues) > maxQueues {
		queues = append(queues[:maxQueues], other)
	}
	for _, q := range queues {
		gauge(limitDesc, float64(q.Limit), q.Name)
		gauge(runningDesc, float64(q.Running), q.Name)
		gauge(readyDesc, float64(q.Ready), q.Name)
		gauge(offeredDesc, float64(q.Offered), q.Name)
	}
}
