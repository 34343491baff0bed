package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// book is what clients know that the daemon has acknowledged. It is kept outside
// the daemon.
type book struct {
	mu      sync.Mutex
	runs    map[string]string // idempotency key of the start → run
	signals map[string]string // key → run
	answers map[string]string // key → run
	resumes map[string]string // key → run
	acks    int
}

func newBook() *book {
	return &book{runs: map[string]string{}, signals: map[string]string{}, answers: map[string]string{}, resumes: map[string]string{}}
}

func (b *book) note(m map[string]string, key, run string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := m[key]; old != "" && old != run {
		return fmt.Errorf("key %s was acknowledged for run %s and now for run %s", key, old, run)
	}
	m[key] = run
	b.acks++
	return nil
}

func (b *book) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acks
}

// client talks to whatever daemon is up. Requests that fail are simply not
// acknowledged; a start that failed is repeated with its key.
type client struct {
	http http.Client
	mu   sync.Mutex
	addr string
}

func (c *client) use(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addr = addr
}

// call sends a request and decodes the answer into out. It returns the status, 0
// if there was no answer.
func (c *client) call(method, path, key, contentType string, body []byte, out any) (int, error) {
	c.mu.Lock()
	addr := c.addr
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", contentType)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err // cut off: whatever it said, it was not read
	}
	if out != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(b, out); err != nil {
			return resp.StatusCode, fmt.Errorf("%s %s: %w: %s", method, path, err, b)
		}
	}
	if resp.StatusCode >= 300 {
		return resp.StatusCode, fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	return resp.StatusCode, nil
}

func (c *client) post(path, key string, body any, out any) (int, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	return c.call(http.MethodPost, path, key, "application/json", b, out)
}

type runView struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Why    string `json:"why"`
}

type question struct {
	Run   string `json:"run"`
	Node  string `json:"node"`
	Visit int    `json:"visit"`
}

func (c *client) inbox() ([]question, error) {
	var page struct {
		Items []question `json:"items"`
	}
	_, err := c.call(http.MethodGet, "/v1/inbox?limit=200", "", "", nil, &page)
	return page.Items, err
}

// work starts runs, sends signals and answers questions until ctx ends.
func (c *client) work(ctx context.Context, name string, rng *rand.Rand, b *book, broken func(error)) {
	var mine []string
	for i := 0; ctx.Err() == nil; i++ {
		switch {
		case rng.IntN(3) > 0 || len(mine) == 0:
			key := fmt.Sprintf("%s-start-%d", name, i)
			wf := workflows[rng.IntN(len(workflows))]
			body := map[string]any{"input": map[string]any{"n": i}}
			if stops := breakpoints[wf]; rng.IntN(3) == 0 {
				body["breakpoints"] = stops
			}
			for ctx.Err() == nil {
				var r runView
				status, err := c.post("/v1/workflows/"+url.PathEscape(wf)+"/runs", key, body, &r)
				if status == 200 || status == 201 {
					if err := b.note(b.runs, key, r.ID); err != nil {
						broken(err)
					}
					mine = append(mine, r.ID)
					break
				}
				if status >= 400 && status < 500 && status != http.StatusTooManyRequests { // which it is asked again
					broken(err)
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		case rng.IntN(2) == 0:
			id := mine[rng.IntN(len(mine))]
			key := fmt.Sprintf("%s-signal-%d", name, i)
			if status, _ := c.post("/v1/runs/"+id+"/signal", key, map[string]any{"name": "go", "value": key}, nil); status == 200 {
				if err := b.note(b.signals, key, id); err != nil {
					broken(err)
				}
			}
		case rng.IntN(2) == 0:
			c.resume(fmt.Sprintf("%s-resume-%d", name, i), b, broken)
		default:
			c.answer(fmt.Sprintf("%s-answer-%d", name, i), b, broken)
		}
		time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
	}
}

// answer answers the questions that are open.
func (c *client) answer(key string, b *book, broken func(error)) int {
	questions, err := c.inbox()
	if err != nil {
		return 0
	}
	for i, q := range questions {
		key := fmt.Sprintf("%s-%d", key, i)
		body := map[string]any{"node": q.Node, "visit": q.Visit, "value": map[string]any{"approved": true}}
		if status, _ := c.post("/v1/runs/"+q.Run+"/answer", key, body, nil); status == 200 {
			if err := b.note(b.answers, key, q.Run); err != nil {
				broken(err)
			}
		}
	}
	return len(questions)
}

// resume lets the runs go on that stand at a breakpoint.
func (c *client) resume(key string, b *book, broken func(error)) {
	var page struct {
		Items []runView `json:"items"`
	}
	if _, err := c.call(http.MethodGet, "/v1/runs?status=paused&limit=100", "", "", nil, &page); err != nil {
		return
	}
	for i, r := range page.Items {
		key := fmt.Sprintf("%s-%d", key, i)
		if status, _ := c.post("/v1/runs/"+r.ID+"/resume", key, map[string]any{}, nil); status == 200 {
			if err := b.note(b.resumes, key, r.ID); err != nil {
				broken(err)
			}
		}
	}
}
