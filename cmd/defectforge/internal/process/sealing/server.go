package sealing

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"sync"

	"go.temporal.io/sdk/converter"
)

// maxRequest bounds a request's body, in bytes: a page of the web UI's history.
const maxRequest = 32 << 20

// Server answers the web UI's and the temporal CLI's questions at /encode and
// /decode. Whoever may ask reads everything: it belongs on the loopback address,
// or behind TLS with a token.
type Server struct {
	handler http.Handler
	token   string

	mu      sync.Mutex
	origins []string
}

// NewServer serves what codec decrypts to the pages of these origins, such as
// http://127.0.0.1:8233, and to programs. With a token, each must show it as
// "Authorization: Bearer TOKEN".
func NewServer(codec *Codec, token string, origins ...string) *Server {
	return &Server{handler: converter.NewPayloadCodecHTTPHandler(codec), token: token, origins: origins}
}

// Allow adds an origin.
func (s *Server) Allow(origin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.origins = append(s.origins, origin)
}

func (s *Server) allowed(origin string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.origins, origin)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A page of another origin is refused, not only kept from reading the answer.
	if origin := r.Header.Get("Origin"); origin != "" {
		w.Header().Add("Vary", "Origin")
		if !s.allowed(origin) {
			http.Error(w, "this origin may not ask", http.StatusForbidden)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Namespace")
		w.Header().Set("Access-Control-Allow-Methods", "POST, OPTIONS")
	}
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if s.token != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+s.token)) != 1 {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "show the token", http.StatusUnauthorized)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	s.handler.ServeHTTP(w, r)
}
