#pragma once

// Figures of others that stand beside ours. BERT-base-cased on ParaRel where nothing else is said.

namespace engram::published {

/// Dai et al., Knowledge Neurons in Pretrained Transformers, ACL 2022, and its released code.
constexpr const char* kAcl = "ACL 2022";
/// EleutherAI's replication, on BERT-base-uncased.
constexpr const char* kEleuther = "EleutherAI (BERT-base-uncased)";

constexpr double kFacts = 27738;
constexpr double kRelations = 34;
constexpr double kPrompts = 253448;
constexpr double kSecondsPerFact = 13.3;  // 9 prompts a fact, on a V100

constexpr double kNeurons = 4.13;
constexpr double kBaselineNeurons = 3.96;
constexpr double kEleutherNeurons = 11.04;

constexpr double kSuppress = -0.2903;
constexpr double kAmplify = 0.3117;
constexpr double kSuppressBaseline = -0.0147;
constexpr double kAmplifyBaseline = -0.0127;

/// Neurons that two facts' sets share.
constexpr double kWithin = 1.23;
constexpr double kAcross = 0.09;
constexpr double kBaselineWithin = 2.85;
constexpr double kBaselineAcross = 1.92;

/// Updates: of prompts answered rightly; and the rise of perplexity.
constexpr double kChange = 0.485;
constexpr double kSuccess = 0.344;
constexpr double kRiseWithin = 8.4;
constexpr double kRiseAcross = 7.2;
constexpr double kRandomChange = 0.047;
constexpr double kRandomSuccess = 0.0;

/// Mean activation on texts of Bing.
constexpr double kTextBoth = 0.485;
constexpr double kTextHead = 0.019;
constexpr double kTextRandom = -0.018;

constexpr double kEraseP19Before = 1450;
constexpr double kEraseP19After = 2996;
constexpr double kEraseP106Before = 2279;
constexpr double kEraseP106After = 5202;
/// After over before: of these two relations, and the range over others.
constexpr const char* kEraseInside = "2.07 (P19), 2.28 (P106)";
constexpr const char* kEraseOutside = "1.01 to 1.10";

}  // namespace engram::published
