#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/neuron.h"

namespace engram::cli {

/// Shares of the tokens for which quantiles of the activation are told.
const std::vector<double>& told_shares();

/// One object of engram.neuron/1.
nlohmann::ordered_json neuron_json(const NeuronCommandOptions& options, const LoadedModel& loaded,
                                   const OpenedNeuron& opened);

/// The same for people.
std::string neuron_text(const LoadedModel& loaded, const OpenedNeuron& opened);

/// One self-contained page of HTML.
std::string neuron_page(const NeuronCommandOptions& options, const LoadedModel& loaded,
                        const OpenedNeuron& opened);

}  // namespace engram::cli
