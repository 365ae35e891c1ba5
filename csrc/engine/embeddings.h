/* The ways of embeddings. */
#ifndef FNN_EMBEDDINGS_H
#define FNN_EMBEDDINGS_H

#include "engine/network.h"

extern const fnn_stage_way fnn_periodic_way;

#endif
