package notify

const MaxStories = maxStories

// Remembered is the number of breakers that s knows.
func Remembered(s *Slack) int {
	s.courier.mu.Lock()
	defer s.courier.mu.Unlock()
	return len(s.courier.box.(*stories).all)
}

// The texts as Slack gets them.
var (
	Escaped = escaped
	Inert   = inert
	Clean   = clean
	Percent = percent

	Signature = signature
)
