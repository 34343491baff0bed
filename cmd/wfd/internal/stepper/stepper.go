package stepper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Run shows a film until the user has seen enough. clean makes text safe for a
// terminal.
func Run(ctx context.Context, f *Film, in io.Reader, out io.Writer, color bool, clean func(string) string) error {
	m := &model{film: f, width: 100, height: 30, clean: clean, styles: stylesFor(color)}
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out)).Run()
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

type model struct {
	film          *Film
	width, height int
	clean         func(string) string
	styles        styles

	asking string // "/" or "j" while a text is typed
	typed  string
	sought string // the last search
	note   string
}

type styles struct {
	current, changed, dim, title lipgloss.Style
	status                       map[run.NodeStatus]lipgloss.Style
}

func stylesFor(color bool) styles {
	s := styles{
		current: lipgloss.NewStyle().Reverse(true), changed: lipgloss.NewStyle().Bold(true),
		dim: lipgloss.NewStyle().Faint(true), title: lipgloss.NewStyle().Bold(true),
	}
	if !color {
		return s
	}
	paint := func(c string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(c)) }
	s.changed = s.changed.Foreground(lipgloss.Color("11"))
	s.status = map[run.NodeStatus]lipgloss.Style{
		run.NodeRunning: paint("12"), run.NodeWaiting: paint("11"), run.NodeCompleted: paint("10"),
		run.NodeFailed: paint("9"), run.NodeSkipped: paint("8"), run.NodeScheduled: paint("13"),
	}
	return s
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		m.note = ""
		if m.asking != "" {
			m.ask(msg)
			return m, nil
		}
		if m.press(msg.String()) {
			return m, tea.Quit
		}
	}
	return m, nil
}

// press does what a key stands for and reports whether it ends the show.
func (m *model) press(key string) (quit bool) {
	f := m.film
	tenth := max(1, m.height-10)
	switch key {
	case "q", "esc", "ctrl+c":
		return true
	case "right", "l", "down", "space", "enter":
		f.Seek(f.At() + 1)
	case "left", "h", "up", "backspace":
		f.Seek(max(1, f.At()-1))
	case "pgdown", "ctrl+f":
		f.Seek(f.At() + tenth)
	case "pgup", "ctrl+b":
		f.Seek(max(1, f.At()-tenth))
	case "home", "g":
		f.Seek(1)
	case "end", "G":
		f.Seek(len(f.Frames))
	case "/", "j":
		m.asking, m.typed = key, ""
	case "n", "N":
		m.seek(key == "n")
	}
	return false
}

// seek repeats the last search.
func (m *model) seek(forward bool) {
	by, where := 1, "further on"
	if !forward {
		by, where = -1, "before"
	}
	text, node := strings.CutPrefix(m.sought, "j")
	found := false
	switch {
	case m.sought == "":
		m.note = "nothing was searched for yet: / searches, j jumps to a node"
		return
	case node:
		found = m.film.FindNode(text, by)
	default:
		text = strings.TrimPrefix(text, "/")
		found = m.film.Find(text, by)
	}
	if !found {
		m.note = fmt.Sprintf("no %q %s", text, where)
	}
}

func (m *model) ask(k tea.KeyPressMsg) {
	switch k.String() {
	case "esc", "ctrl+c":
		m.asking = ""
	case "enter":
		m.sought, m.asking = m.asking+m.typed, ""
		m.seek(true)
	case "backspace":
		if r := []rune(m.typed); len(r) > 0 {
			m.typed = string(r[:len(r)-1])
		}
	default:
		m.typed += k.Text
	}
}

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	return v
}

// screen draws events on the left, graph and state on the right.
func (m *model) screen() string {
	height := max(6, m.height-2)
	left := max(24, m.width*45/100)
	right := max(20, m.width-left-3)
	events, state := m.events(left, height), m.state(right, height)
	var b strings.Builder
	for i := range height {
		l, r := "", ""
		if i < len(events) {
			l = events[i]
		}
		if i < len(state) {
			r = state[i]
		}
		b.WriteString(l + strings.Repeat(" ", max(0, left-lipgloss.Width(l))) + " │ " + r + "\n")
	}
	b.WriteString(m.footer())
	return b.String()
}

func (m *model) footer() string {
	switch {
	case m.asking == "/":
		return "search: " + m.typed + "▏"
	case m.asking == "j":
		return "node: " + m.typed + "▏"
	case m.note != "":
		return m.clean(m.note)
	}
	return m.styles.dim.Render(cut(fmt.Sprintf("%d/%d  ←→ step  pgup/pgdn  g/G ends  / search  n/N again  j node  q quit", m.film.At(), len(m.film.Frames)), m.width))
}

// events lists the events around the current one.
func (m *model) events(width, height int) []string {
	f := m.film
	from := max(0, min(f.At()-1-height/2, len(f.Frames)-height))
	var lines []string
	root := ""
	if len(f.Frames) > 0 {
		root = f.Frames[0].Event.Run
	}
	for i := from; i < min(len(f.Frames), from+height); i++ {
		fr := &f.Frames[i]
		indent := ""
		if fr.Event.Run != root {
			indent = "  "
		}
		s := cut(m.clean(fmt.Sprintf("%6d %s%s %s", fr.Event.Seq, indent, fr.Event.Kind, fr.What)), width)
		switch {
		case i == f.At()-1:
			s = m.styles.current.Render(s)
		case i >= f.At():
			s = m.styles.dim.Render(s)
		}
		lines = append(lines, s)
	}
	return lines
}

// state shows the run of the current event: its graph, then its state, what the
// event changed marked.
func (m *model) state(width, height int) []string {
	fr := m.film.Current()
	if fr == nil {
		return nil
	}
	s := m.film.Shot(fr.Event.Run)
	lines := []string{
		m.styles.title.Render(cut(fmt.Sprintf("%s v%d: %s", fr.Event.Run, fr.Event.Version, s.Status), width)),
		m.styles.dim.Render(fr.Event.Time.Local().Format("2006-01-02 15:04:05.000") + " " + cut(m.clean(fr.Event.Actor), 30)),
		"",
	}
	for _, l := range Graph(m.film.Graphs[fr.Event.Run], s) {
		text := cut(m.clean(l.Text), width)
		_, changed := fr.Changes.Nodes[l.Node]
		switch st, ok := m.styles.status[l.Status]; {
		case changed:
			text = m.styles.changed.Render(text)
		case ok:
			text = st.Render(text)
		}
		lines = append(lines, text)
	}
	lines = append(lines, "")
	for _, k := range slices.Sorted(maps.Keys(s.State)) {
		text := cut(m.clean(k+" = "+show(s.State[k])), width)
		if c, ok := fr.Changes.State[k]; ok {
			text = m.styles.changed.Render(cut(m.clean(fmt.Sprintf("%s = %s (was %s)", k, show(s.State[k]), show(c.From))), width))
		}
		lines = append(lines, text)
	}
	return lines[:min(len(lines), height)]
}

func show(v event.Value) string {
	if len(v) == 0 {
		return "unset"
	}
	b, err := v.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// cut shortens s to one line of width cells.
func cut(s string, width int) string {
	s = strings.NewReplacer("\n", " ", "\t", " ").Replace(s)
	if lipgloss.Width(s) <= width {
		return s
	}
	r := []rune(s)
	for len(r) > 0 && lipgloss.Width(string(r)) > width-1 {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}
