package devstack

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStartAnswersEverywhere(t *testing.T) {
	s := start(t, testConfig(t))
	require.Equal(t, "default", s.Namespace)
	require.NoError(t, get(t.Context(), s.UIURL))
	require.NoError(t, get(t.Context(), s.UIURL+"/api/v1/namespaces/default"))
	res, err := http.Post(s.SyncURL, "", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, res.StatusCode)
	dial(t, s)
}
