package event

// An Error is what a handler tells the other side instead of an answer: it
// travels as {"error":{"code":…,"message":…,"data":…}} and is an error again
// where a Go client has called. core.Error is an alias of it.
type Error struct {
	// Code is for programs, as in "not_member".
	Code string `json:"code"`
	// Message is for people. It is sent as it is.
	Message string `json:"message"`
	// Data is anything else the other side should have. It must encode.
	Data any `json:"data,omitempty"`
}

// Error returns code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }
