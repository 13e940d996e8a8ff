package devstack

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// workflowService is the name under which the frontend reports its health.
const workflowService = "temporal.api.workflowservice.v1.WorkflowService"

// waitNamespace returns when the frontend serves the namespace and its search
// attributes are registered.
func waitNamespace(
	ctx context.Context, port int, namespace string, attributes map[string]enumspb.IndexedValueType, fatal <-chan error,
) error {
	conn, err := grpc.NewClient(address(port), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to frontend: %w", err)
	}
	defer func() { _ = conn.Close() }()
	health := grpc_health_v1.NewHealthClient(conn)
	frontend := workflowservice.NewWorkflowServiceClient(conn)
	err = poll(ctx, fatal, func(ctx context.Context) error {
		res, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: workflowService})
		if err != nil {
			return err
		}
		if res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			return fmt.Errorf("the frontend is %s", res.GetStatus())
		}
		_, err = frontend.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
		return err
	})
	if err != nil {
		return err
	}
	return addAttributes(ctx, operatorservice.NewOperatorServiceClient(conn), namespace, attributes, fatal)
}

// addAttributes registers what a namespace made by an earlier release lacks.
func addAttributes(
	ctx context.Context, operator operatorservice.OperatorServiceClient, namespace string, want map[string]enumspb.IndexedValueType,
	fatal <-chan error,
) error {
	present, err := operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	missing := map[string]enumspb.IndexedValueType{}
	for name, typ := range want {
		switch has, ok := present.GetCustomAttributes()[name]; {
		case !ok:
			missing[name] = typ
		case has != typ:
			return fmt.Errorf("search attribute %s is a %s in this data folder and should be a %s: name another data_dir", name, has, typ)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = operator.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: missing})
	if err != nil {
		return fmt.Errorf("add search attributes: %w", err)
	}
	return poll(ctx, fatal, func(ctx context.Context) error {
		res, err := operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
		if err != nil {
			return err
		}
		for name := range missing {
			if _, ok := res.GetCustomAttributes()[name]; !ok {
				return fmt.Errorf("search attribute %s is not there yet", name)
			}
		}
		return nil
	})
}

// poll repeats try until it succeeds, ctx ends or a fatal error arrives.
func poll(ctx context.Context, fatal <-chan error, try func(context.Context) error) error {
	for {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := try(once)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case err := <-fatal:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
