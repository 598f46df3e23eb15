/* transport - how an answer leaves, spoiled where a fault says so. */
#ifndef AZ_TRANSPORT_H
#define AZ_TRANSPORT_H

#include <stdatomic.h>

#include "tools/azsim/server.h"

/* Queues RES; what MHD's access handler returns. */
enum MHD_Result az_transport_send(const struct az_req *req, struct az_res *res);

/* Waits until the client leaves or *STOPPING. */
void az_transport_hang(const struct az_req *req, const atomic_bool *stopping);

/* Resets the connection at once. */
void az_transport_reset(const struct az_req *req);

#endif
